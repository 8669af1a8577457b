// format/gguf/tensor_types.hpp: ggml's tensor types by their number in GGUF files.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "heft/dtype.hpp"

namespace heft::format::gguf {

/// A type that ggml has, or had.
struct TensorType {
  std::string_view name;          ///< ggml's own: "q4_0_4_4".
  DType dtype = DType::unknown;   ///< unknown: removed from ggml; files with it exist.
};

/// The row of ggml's number, or nothing when the number is newer than heft.
std::optional<TensorType> tensor_type(std::uint32_t id) noexcept;

/// ggml's number of `dtype`, or nothing when GGUF has none.
std::optional<std::uint32_t> type_id(DType dtype) noexcept;

}  // namespace heft::format::gguf
