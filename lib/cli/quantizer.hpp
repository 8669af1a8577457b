// cli/quantizer.hpp: what the integers of PyTorch's quantized tensors stand for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "heft/checkpoint.hpp"

namespace heft::cli {

/// value = (integer - zero point) * scale: one of each for the tensor, or for every index along a dim.
struct Quantizer {
  double scale = 0;
  std::int64_t zero_point = 0;
  std::optional<std::int64_t>
      axis;  ///< Set: scale and zero point are the records "scales" and "zero_points" beside it.
};

/// That of a tensor of quantized integers, which lies in a record with its parameters beside it; nothing for others.
std::optional<Quantizer> quantizer_of(const Checkpoint& checkpoint, const TensorView& view);

/// "scale 0.25, zero point 3", "scales and zero points along dim 0".
std::string words_of(const Quantizer& quantizer);
/// The same as members of a JSON object, a comma in front.
std::string json_members_of(const Quantizer& quantizer);

}  // namespace heft::cli
