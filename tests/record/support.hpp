// What the record room's tests share: small tensors whose values are known.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heft/tensor_view.hpp"

namespace heft::test {

/// An f32 tensor 0, 1, 2, ... in memory, named "counting".
[[nodiscard]] TensorView counting(const Shape& shape, float first = 0);

/// All elements of an f32 tensor in row-major order, read one by one.
[[nodiscard]] std::vector<float> values_of(const TensorView& view);

}  // namespace heft::test
