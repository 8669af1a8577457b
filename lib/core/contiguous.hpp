// core/contiguous.hpp: the one rule for contiguous layouts, of tensors and of views.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "heft/shape.hpp"

namespace heft::core {

/// Returns true when elements of this shape are packed in row-major order. Strides of dims of 1 do not matter; without
/// elements no stride does. `shape` and `strides` have the same rank.
[[nodiscard]] inline bool is_contiguous(const Shape& shape, const Strides& strides) noexcept {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return true;
  std::int64_t expected = 1;
  for (std::size_t dim = shape.rank(); dim-- > 0;) {
    if (shape[dim] == 1) continue;
    if (strides[dim] != expected) return false;
    expected *= shape[dim];
  }
  return true;
}

}  // namespace heft::core
