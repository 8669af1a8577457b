#include "record/scales.hpp"

#include <array>
#include <string>
#include <string_view>

namespace heft::record {
namespace {

// Suffixes of the weight's whole name: weight -> weight_scale.
constexpr auto endings = std::to_array<std::string_view>(
    {"_scale", "_scale_inv", "_scales", "_2", ".scale", "._scale", ".scales", ".absmax"});

// Replacements of the weight's last part.
constexpr auto siblings =
    std::to_array<std::string_view>({"scale", "scales", "scale_inv", "scale_weight", "SCB", "_scale"});

// Replacements of an ending of the last part: weight_packed -> weight_scale.
struct Ending {
  std::string_view weight;
  std::string_view scale;
};
constexpr auto replaced = std::to_array<Ending>(
    {{"_qdata", "_scale"}, {"_packed", "_scale"}, {"_blocks", "_scales"}, {"_data", "_scale"}, {"qdata", "scale"}});

// Returns true for elements of at most 8 bits: scales beside wider ones are parameters of the model.
bool is_small(DType dtype) noexcept {
  const DTypeInfo& type = info(dtype);
  return type.block_bytes == 1 &&
         (type.category == DTypeCategory::real || type.category == DTypeCategory::integer || type.block_elements > 1);
}

// Returns true for a scale. Scales can be narrow floats too, but have no scales except for a second one.
bool is_scale(std::string_view last) noexcept { return last.find("scale") != last.npos; }

}  // namespace

std::optional<TensorView> scale_beside(const Checkpoint& checkpoint, const TensorView& weight) {
  if (!is_small(weight.dtype())) return std::nullopt;
  const std::string_view name = weight.name();
  // With the dot, or empty for a name without one.
  const std::string_view parent = name.substr(0, name.rfind('.') + 1);
  const std::string_view last = name.substr(parent.size());
  const auto look = [&](std::string_view front, std::string_view back) {
    return checkpoint.find(std::string(front).append(back));
  };
  // NVFP4 has a second scale, for the tensor, beside the one for each block.
  if (is_scale(last)) return look(name, "_2");
  // From the most specific name to the least: `weight_scale` belongs to `weight` alone, `scale` to the module.
  for (const std::string_view ending : endings)
    if (auto found = look(name, ending)) return found;
  for (const std::string_view sibling : siblings)
    if (auto found = look(parent, sibling)) return found;
  for (const Ending& ending : replaced) {
    if (!last.ends_with(ending.weight)) continue;
    if (auto found = look(name.substr(0, name.size() - ending.weight.size()), ending.scale)) return found;
  }
  return std::nullopt;
}

}  // namespace heft::record
