// save/dtypes.hpp: the dtypes of each written format, and those to which heft can convert a tensor of another dtype.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "format/writer.hpp"
#include "heft/save.hpp"

namespace heft::writer {

/// The items of one dtype that the format lacks.
struct Unwritable {
  std::size_t first = 0;  ///< Position of the first one.
  std::size_t count = 0;  ///< Items of that dtype.
  std::string message;    ///< "GGUF has no dtype for u8"
};

/// Returns the first dtype that the format lacks; nothing when it has the dtype of every item.
std::optional<Unwritable> unwritable(std::span<const SaveItem> items, const format::Writer& writer);

/// Returns the dtypes of the format to which heft converts the view, those in common use first.
std::vector<DType> writable_as(const TensorView& view, const format::Writer& writer);

/// Throws Error{unsupported} for the first unwritable item, with the dtypes to which it can be converted.
void require_dtypes(std::span<const SaveItem> items, const format::Writer& writer);

/// Returns the first few as a list: "f32, bf16 or f16".
std::string dtype_list(std::span<const DType> dtypes);

}  // namespace heft::writer
