// format/gguf/layout.hpp: constants of GGUF and bounds of ggml, for reader and writer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace heft::format::gguf {

inline constexpr std::string_view magic = "GGUF";
inline constexpr std::uint32_t newest_version = 3;
inline constexpr std::string_view alignment_key = "general.alignment";
inline constexpr std::uint64_t default_alignment = 32;
inline constexpr std::size_t max_rank = 4;              ///< GGML_MAX_DIMS.
inline constexpr std::size_t max_ggml_name_bytes = 63;  ///< GGML_MAX_NAME without the NUL. Longer names can be read.

}  // namespace heft::format::gguf
