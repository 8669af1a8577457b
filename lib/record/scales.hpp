// record/scales.hpp: the scales that quantizers store beside the weights they belong to.
#pragma once

#include <optional>

#include "heft/checkpoint.hpp"

namespace heft::record {

/// The tensor that holds the scale of `weight`, by the names that quantizers use: `weight_scale`, `weight_scale_inv`, `weight.scale`,
/// `scale_weight`, `SCB`, ... beside `weight`. Nothing unless the weight's elements are integers or floats of 8 bits or fewer: a scale
/// beside larger ones is a parameter of the model. O(1) look-ups.
std::optional<TensorView> scale_beside(const Checkpoint& checkpoint, const TensorView& weight);

}  // namespace heft::record
