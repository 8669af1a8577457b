// format/torch/wrappers.cpp: tensor subclasses that wrap other tensors (torchao's, DTensor). The file has the state of
// the Python object; the tensors in it are named by its fields.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <utility>

#include "core/text.hpp"
#include "format/torch/objects.hpp"
#include "format/torch/resolver.hpp"

namespace heft::format {

/// Returns the attributes of a Python object from a dict, or from (dict or None, dict of slots).
TorchResolver::Fields TorchResolver::fields_of(std::uint32_t state) const {
  Fields fields;
  // Ignores what is no dict: a class without __dict__ has None in its place.
  const auto add = [&](std::uint32_t dict) {
    if (!is_dict(dict)) return;
    const Arguments pairs = pickle_.children(dict);
    for (std::size_t i = 0; i + 1 < pairs.size(); i += 2)
      if (pickle_.kind(pairs[i]) == PickleKind::text) fields.emplace_back(pickle_.text(pairs[i]), pairs[i + 1]);
  };
  if (state == Pickle::absent) return fields;
  add(state);
  if (pickle_.kind(state) == PickleKind::tuple)
    for (const std::uint32_t part : pickle_.children(state)) add(part);
  return fields;
}

/// Replaces _rebuild_wrapper_subclass(class, dtype, size, stride, ...) by the tensors in its state. Returns false if
/// the state has no fields.
bool TorchResolver::rebuild_wrapper(const TorchCall& call) {
  require_arguments(call, 3);
  Fields fields = fields_of(call.state);
  if (fields.empty()) return false;
  const auto field = [&](std::string_view name) {
    const auto found = std::find_if(fields.begin(), fields.end(), [&](const auto& one) { return one.first == name; });
    return found == fields.end() ? Pickle::absent : found->second;
  };
  // The two fields of a DTensor. Other wrappers, of quantized tensors for example, are listed by all of their fields.
  const std::uint32_t local = field("_local_tensor");
  const std::uint32_t spec = field("_spec");
  if (local != Pickle::absent && spec != Pickle::absent) return rebuild_distributed(call, local, spec);
  // The class determines how the fields combine, so its name is listed with them, unless a field has that name.
  if (field("class") == Pickle::absent && pickle_.kind(call.arguments[0]) == PickleKind::global) {
    const PickleGlobal& global = pickle_.global(pickle_[call.arguments[0]]);
    fields.emplace(fields.begin(), "class",
                   new_text(pickle_.arena.store(fmt::format("{}.{}", global.module, global.name))));
  }
  make_record(call.value, TorchWord::plain, fields);
  return true;
}

/// Replaces a DTensor by its local tensor if that is the whole. Otherwise records it as a shard. Device meshes are left
/// out.
bool TorchResolver::rebuild_distributed(const TorchCall& call, std::uint32_t local, std::uint32_t spec) {
  const std::uint32_t size = call.arguments[2];
  std::uint32_t placements = Pickle::absent;
  // _spec is a DTensorSpec; its placements are a tuple with one element for each dim of the device mesh.
  if (pickle_.kind(spec) == PickleKind::call)
    for (const auto& [name, value] : fields_of(pickle_.part(pickle_[spec], call_state)))
      if (name == "placements") placements = value;
  std::vector<std::string> words;
  if (placements != Pickle::absent)
    for (const std::uint32_t placement : pickle_.children(placements)) words.push_back(placement_text(placement));
  // Without placements nothing proves that the local tensor is the whole, even if the sizes agree.
  if (!words.empty() && is_whole(local, size, words)) return alias(call.value, local), true;
  const std::string placed = words.empty() ? "placed in an unknown way" : fmt::format("{}", fmt::join(words, ", "));
  const std::uint32_t text = new_text(pickle_.arena.store(placed));
  const std::pair<std::string_view, std::uint32_t> entries[] = {
      {"_local_tensor", local}, {"size", size}, {"placements", text}};
  make_record(call.value, TorchWord::plain, entries);
  objects_.shards.push_back({call.value, placed});
  return true;
}

/// Returns "Shard(0)", "Replicate()".
std::string TorchResolver::placement_text(std::uint32_t value) const {
  if (pickle_.kind(value) != PickleKind::call) return "?";
  const PickleValue& callable = pickle_[pickle_.part(pickle_[value], call_callable)];
  if (callable.kind != PickleKind::global) return "?";
  const Arguments arguments = pickle_.children(pickle_.part(pickle_[value], call_arguments));
  // Shard(0) has its dim as an argument or, from a dataclass, in its state.
  std::uint32_t dim = arguments.empty() ? Pickle::absent : arguments[0];
  for (const auto& [name, field] : fields_of(pickle_.part(pickle_[value], call_state)))
    if (name == "dim") dim = field;
  const bool has_dim = dim != Pickle::absent && pickle_.kind(dim) == PickleKind::integer;
  return fmt::format("{}({})", core::escaped(pickle_.global(callable).name, 100),
                     has_dim ? fmt::to_string(pickle_[dim].integer) : "");
}

/// Returns true if the local tensor is the whole: for a replicated tensor, and for a shard as large as the tensor.
/// Partial values are summands.
bool TorchResolver::is_whole(std::uint32_t local, std::uint32_t size,
                             const std::vector<std::string>& placements) const {
  const auto all = [&](auto test) { return std::all_of(placements.begin(), placements.end(), test); };
  if (all([](const std::string& placement) { return placement.starts_with("Replicate("); })) return true;
  // A shard of a mesh of one device is the whole, which only the sizes show.
  const bool known = all([](const std::string& placement) {
    return placement.starts_with("Replicate(") || placement.starts_with("Shard(");
  });
  if (!known || pickle_.kind(local) != PickleKind::tensor) return false;
  const TorchTensor& tensor = objects_.tensors[static_cast<std::size_t>(pickle_[local].first)];
  const Arguments sizes = pickle_.children(size);
  // `size` is that of the whole tensor, from the arguments of the wrapper.
  if (sizes.size() != tensor.rank) return false;
  for (std::size_t dim = 0; dim < sizes.size(); ++dim)
    if (pickle_.kind(sizes[dim]) != PickleKind::integer ||
        pickle_[sizes[dim]].integer != objects_.dims[tensor.dims + dim])
      return false;
  return true;
}

}  // namespace heft::format
