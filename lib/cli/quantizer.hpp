// cli/quantizer.hpp: describes the quantization parameters of PyTorch's quantized tensors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "heft/checkpoint.hpp"

namespace heft::cli {

/// value = (integer - zero point) * scale, with one scale and zero point for the tensor, or for every index along a
/// dim.
struct Quantizer {
  double scale = 0;
  std::int64_t zero_point = 0;
  std::optional<std::int64_t>
      axis;  ///< If set, scale and zero point are the records "scales" and "zero_points" beside the tensor.
};

/// Returns the parameters of a tensor of quantized integers, from the records beside it; nothing for other tensors.
std::optional<Quantizer> quantizer_of(const Checkpoint& checkpoint, const TensorView& view);

/// Returns "scale 0.25, zero point 3", "scales and zero points along dim 0".
std::string words_of(const Quantizer& quantizer);
/// Returns the same as members of a JSON object, with a leading comma.
std::string json_members_of(const Quantizer& quantizer);

}  // namespace heft::cli
