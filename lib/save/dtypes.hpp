// save/dtypes.hpp: which dtypes each written format has, and what heft can make of a tensor that has another.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "heft/save.hpp"

namespace heft::engine {

/// Items of a dtype that the format lacks.
struct Unwritable {
  std::size_t first = 0;  ///< Position among the items.
  std::size_t count = 0;  ///< Items of that dtype.
  std::string sentence;   ///< "GGUF has no dtype for u8"
};

/// Nothing when the format has the dtype of every item. `format` is not by_suffix.
std::optional<Unwritable> unwritable(std::span<const SaveItem> items, SaveFormat format);

/// Dtypes that the format has and that heft converts the view to, those in common use first.
std::vector<DType> writable_as(const TensorView& view, SaveFormat format);

/// Throws Error{unsupported} for the first unwritable item, with the dtypes that it could be written as.
void require_dtypes(std::span<const SaveItem> items, SaveFormat format);

/// "f32, bf16 or f16": the first few.
std::string dtype_list(std::span<const DType> dtypes);

}  // namespace heft::engine
