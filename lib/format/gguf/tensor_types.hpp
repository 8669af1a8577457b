// format/gguf/tensor_types.hpp: table of ggml's tensor types by their number in GGUF files.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "heft/dtype.hpp"

namespace heft::format::gguf {

/// A tensor type of ggml, current or removed.
struct TensorType {
  std::string_view name;         ///< ggml's name: "q4_0_4_4".
  DType dtype = DType::unknown;  ///< unknown: removed from ggml, though files with it exist.
};

/// Returns the row of ggml's number, or nothing for a number that this version does not know.
std::optional<TensorType> tensor_type(std::uint32_t id) noexcept;

/// Returns ggml's number of `dtype`, or nothing if GGUF has none.
std::optional<std::uint32_t> type_id(DType dtype) noexcept;

}  // namespace heft::format::gguf
