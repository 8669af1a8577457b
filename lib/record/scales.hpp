// record/scales.hpp: finds the scales that quantizers store beside weights.
#pragma once

#include <optional>

#include "heft/checkpoint.hpp"

namespace heft::record {

/// Returns the tensor with the scale of `weight`, by the names that quantizers use: `weight_scale`, `weight_scale_inv`,
/// `weight.scale`, `scale_weight`, `SCB`, ... beside `weight`. Returns nothing unless the weight's elements are
/// integers or floats of at most 8 bits: a scale beside larger ones is a parameter of the model. O(1) lookups.
std::optional<TensorView> scale_beside(const Checkpoint& checkpoint, const TensorView& weight);

}  // namespace heft::record
