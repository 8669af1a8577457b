// Small tensors with known values, for the record room's tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/tensor_view.hpp"

namespace heft::test {

/// An f32 tensor 0, 1, 2, ... in memory, named "counting".
[[nodiscard]] TensorView counting(const Shape& shape, float first = 0);

/// All elements of an f32 tensor in row-major order, read one by one.
[[nodiscard]] std::vector<float> values_of(const TensorView& view);

/// An opened safetensors file, gone from the disk by now, of tensors of those names: each one byte.
[[nodiscard]] Checkpoint checkpoint_of(const std::vector<std::string>& names, const OpenOptions& options = {});
/// In file order.
[[nodiscard]] std::vector<std::string> names_of(const Checkpoint& checkpoint);

/// Of a temporary, which lends none of these.
[[nodiscard]] inline Shape shape_of(const TensorView& view) { return view.shape(); }
[[nodiscard]] inline Strides strides_of(const TensorView& view) { return view.strides(); }
[[nodiscard]] inline std::size_t count_of_pieces(const TensorView& view) { return view.pieces().size(); }
[[nodiscard]] inline std::string name_of(const TensorView& view) { return std::string(view.name()); }

}  // namespace heft::test
