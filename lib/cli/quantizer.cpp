#include "cli/quantizer.hpp"

#include <string_view>

#include <fmt/format.h>

#include "cli/text.hpp"
#include "heft/record.hpp"

namespace heft::cli {
namespace {

// Returns the record that contains the tensor `name`; nothing if names and tree differ.
std::optional<Record> beside(const Checkpoint& checkpoint, std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return checkpoint.root();
  return checkpoint.root().find(name.substr(0, dot));
}

// Returns the integer of the record; nothing for another record, or none.
std::optional<std::int64_t> integer_of(const std::optional<Record>& record) {
  if (!record || record->kind() != RecordKind::integer) return {};
  return record->integer();
}

}  // namespace

std::optional<Quantizer> quantizer_of(const Checkpoint& checkpoint, const TensorView& view) {
  if (info(view.dtype()).category != DTypeCategory::quantized) return {};
  const auto parts = beside(checkpoint, view.name());
  if (!parts) return {};
  const auto scale = parts->find("scale");
  const auto zero_point = integer_of(parts->find("zero_point"));
  // PyTorch's per_tensor_affine: one scale and zero point.
  if (scale && (scale->kind() == RecordKind::real || scale->kind() == RecordKind::integer) && zero_point)
    return Quantizer{scale->real(), *zero_point, {}};
  // per_channel_affine: lists of them, along one dim.
  const auto axis = integer_of(parts->find("axis"));
  if (axis && parts->find("scales") && parts->find("zero_points")) return Quantizer{0, 0, axis};
  return {};
}

std::string words_of(const Quantizer& quantizer) {
  if (quantizer.axis) return fmt::format("scales and zero points along dim {}", *quantizer.axis);
  return fmt::format("scale {}, zero point {}", quantizer.scale, quantizer.zero_point);
}

std::string json_members_of(const Quantizer& quantizer) {
  if (quantizer.axis) return fmt::format(",\"quantizer_axis\":{}", *quantizer.axis);
  return fmt::format(",\"scale\":{},\"zero_point\":{}", json_number(quantizer.scale), quantizer.zero_point);
}

}  // namespace heft::cli
