// heft/adapter.hpp: tensors as another framework lays them out: views, nothing is copied.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/dtype.hpp"
#include "heft/tensor_view.hpp"

namespace heft {

/// Gives the view to use in place of the one it is given: renamed(), transposed, cast_on_load()... It must not depend
/// on what it was given before, and may be called from several threads. An empty Adapter changes nothing.
using Adapter = std::function<TensorView(TensorView)>;

/// `first`, then `second` on what it gave.
[[nodiscard]] inline Adapter chain(Adapter first, Adapter second) {
  if (!first) return second;
  if (!second) return first;
  return [first = std::move(first), second = std::move(second)](TensorView view) { return second(first(std::move(view))); };
}

/// What a module is. heft has no modules: the caller says, by the names of their keys.
enum class ModuleKind : std::uint8_t { other, linear, batch_norm, layer_norm, group_norm, rms_norm, instance_norm };

/// Patterns of module paths ("model.layers.*.mlp.*_proj", as Checkpoint::tensors() takes them) and the kind that each
/// stands for. The first that matches decides; none: ModuleKind::other. A value; copies share the compiled patterns.
class HEFT_API ModuleKinds {
 public:
  ModuleKinds() noexcept;
  /// Throws Error{out_of_range} for a pattern that does not compile.
  ModuleKinds& add(std::string_view pattern, ModuleKind kind);
  /// Kind of the module whose parameter `name` is: of the path before its last dot.
  [[nodiscard]] ModuleKind of_parameter(std::string_view name) const;

 private:
  struct Row;
  std::vector<std::shared_ptr<const Row>> rows_;
};

/// PyTorch's layout to Burn's: the two-dimensional `weight` of a linear module is transposed, `weight` and `bias` of
/// batch, layer, group and RMS norms become `gamma` and `beta`. (Instance norms keep theirs.)
[[nodiscard]] HEFT_API Adapter pytorch_to_row_major_linear(ModuleKinds modules);

/// Which tensors half_precision() converts.
struct HalfPrecision {
  DType to = DType::f16;              ///< f16: f32 tensors become f16. f32: f16 tensors become f32.
  std::vector<std::string> patterns;  ///< Only tensors whose name matches one of these; empty: all.
  /// Parameters of batch norms stay as they are: a running_var underflows in f16. So do, whatever stands here,
  /// running_mean and running_var.
  ModuleKinds modules;
};
/// Throws Error{out_of_range} unless `to` is f16 or f32, or for a pattern that does not compile.
[[nodiscard]] HEFT_API Adapter half_precision(HalfPrecision options);

/// Every tensor of real numbers is wanted as `dtype`; integers, booleans, complex numbers and blocks pass. Throws
/// Error{out_of_range} unless `dtype` is a plain real type.
[[nodiscard]] HEFT_API Adapter cast_floats(DType dtype);

/// A choice of tensors: those that any of its conditions holds for. Without a condition it chooses nothing.
/// A value; copies share the compiled patterns. Const members may be called from several threads.
class HEFT_API Filter {
 public:
  Filter() noexcept;
  /// A glob, or "re:" and a regular expression, on the whole name. Throws Error{out_of_range} when it does not compile.
  Filter& matching(std::string_view pattern);
  Filter& named(std::string name);
  Filter& where(std::function<bool(const TensorView&)> condition);
  [[nodiscard]] bool operator()(const TensorView& view) const;

 private:
  std::vector<std::function<bool(const TensorView&)>> conditions_;
};

/// The checkpoint as `adapter` shows it, and of that what `filter` chooses: names, shapes and wanted dtypes are the
/// adapter's. What the filter drops is `skipped` in the LoadReport of a bind(). Nothing is read or copied. Throws
/// Error{ambiguous} naming both originals when two keys become one, and whatever the adapter throws.
[[nodiscard]] HEFT_API Checkpoint adapt(const Checkpoint& checkpoint, const Adapter& adapter);
[[nodiscard]] HEFT_API Checkpoint adapt(const Checkpoint& checkpoint, const Adapter& adapter, const Filter& filter);

}  // namespace heft
