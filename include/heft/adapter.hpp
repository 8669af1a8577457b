// heft/adapter.hpp: tensors in the layout and under the names of another framework, as views: nothing is copied.
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

/// A function that returns the view to use in place of its argument: renamed(), transposed, cast_on_load(), ... Its
/// result must depend on the argument only; heft may call it from several threads. What it throws comes out of the call
/// that uses it. An empty Adapter changes nothing.
///
/// Example:
///   const heft::Adapter lower = [](heft::TensorView v) { return v.rank() == 2 ? v.transpose(0, 1) : v; };
///   const heft::Adapter both = heft::chain(lower, heft::cast_floats(heft::DType::f16));
///   const heft::Checkpoint adapted = heft::adapt(checkpoint, both);
using Adapter = std::function<TensorView(TensorView)>;

/// Returns an adapter that applies `first`, then `second` to the result of `first`.
[[nodiscard]] inline Adapter chain(Adapter first, Adapter second) {
  if (!first) return second;
  if (!second) return first;
  return [first = std::move(first), second = std::move(second)](TensorView view) {
    return second(first(std::move(view)));
  };
}

/// The kind of a module. Files contain tensors and no modules: the caller names the kinds by patterns of names.
enum class ModuleKind : std::uint8_t { other, linear, batch_norm, layer_norm, group_norm, rms_norm, instance_norm };

/// A list of patterns of module paths ("model.layers.*.mlp.*_proj", in the syntax of Checkpoint::tensors()), each with
/// the kind of the modules that match it. The first match decides; without one the kind is ModuleKind::other.
///
/// A value: copies share the compiled patterns. Const members may be called from several threads; add() may not.
///
/// Example:
///   heft::ModuleKinds kinds;
///   kinds.add("*_proj", heft::ModuleKind::linear).add("*norm", heft::ModuleKind::rms_norm);
///   const heft::Checkpoint burn = heft::adapt(checkpoint, heft::pytorch_to_row_major_linear(kinds));
class HEFT_API ModuleKinds {
 public:
  /// No patterns: every module is ModuleKind::other.
  ModuleKinds() noexcept;
  /// Appends a pattern and returns *this. Throws Error{out_of_range} for a pattern that does not compile.
  ModuleKinds& add(std::string_view pattern, ModuleKind kind);
  /// Returns the kind of the module that the parameter `name` belongs to: of the path before the last dot.
  [[nodiscard]] ModuleKind of_parameter(std::string_view name) const;

 private:
  struct Row;
  std::vector<std::shared_ptr<const Row>> rows_;
};

/// Returns an adapter from PyTorch's layout to Burn's: it transposes the two-dimensional `weight` of a linear module,
/// and renames `weight` and `bias` of batch, layer, group and RMS norms to `gamma` and `beta`. Instance norms keep
/// their names.
[[nodiscard]] HEFT_API Adapter pytorch_to_row_major_linear(ModuleKinds modules);

/// Options of half_precision(): the tensors that it converts.
struct HalfPrecision {
  DType to = DType::f16;              ///< f16: f32 tensors become f16. f32: f16 tensors become f32.
  std::vector<std::string> patterns;  ///< Converts only tensors whose name matches one of these; empty: all.
  /// Parameters of the batch norms among these are not converted, because a running_var underflows in f16. Tensors
  /// named running_mean and running_var are never converted.
  ModuleKinds modules;
};
/// Returns an adapter that sets the wanted dtype between f16 and f32. Throws Error{out_of_range} unless `to` is f16 or
/// f32, and for a pattern that does not compile.
[[nodiscard]] HEFT_API Adapter half_precision(HalfPrecision options);

/// Returns an adapter that sets the wanted dtype of every tensor of a plain real type to `dtype`. Integers, booleans,
/// complex numbers and blocks pass unchanged. Throws Error{out_of_range} unless `dtype` is a plain real type.
[[nodiscard]] HEFT_API Adapter cast_floats(DType dtype);

/// A choice of tensors: those for which at least one of its conditions holds. Without a condition it chooses nothing.
///
/// A value: copies share the compiled patterns. Const members may be called from several threads, if the functions
/// given to where() may be; the members that add conditions return *this and may not.
///
/// Example:
///   heft::Filter wanted;
///   wanted.matching("model.layers.*").where([](const heft::TensorView& v) { return v.rank() == 1; });
///   const heft::Checkpoint part = heft::adapt(checkpoint, {}, wanted);
class HEFT_API Filter {
 public:
  /// No conditions: chooses nothing.
  Filter() noexcept;
  /// Chooses names that match a glob, or "re:" and a regular expression, as a whole. Throws Error{out_of_range} when
  /// the pattern does not compile.
  Filter& matching(std::string_view pattern);
  /// Chooses the tensor of that full name.
  Filter& named(std::string name);
  /// Chooses tensors for which the function returns true.
  Filter& where(std::function<bool(const TensorView&)> condition);
  /// True when a condition holds for the view. Throws what a function given to where() throws.
  [[nodiscard]] bool operator()(const TensorView& view) const;

 private:
  std::vector<std::function<bool(const TensorView&)>> conditions_;
};

/// Returns the checkpoint with each view replaced by the adapter's result, and of those only what `filter` chooses: the
/// filter sees the new names, shapes and wanted dtypes. Dropped tensors are listed as BindReport::skipped by a bind().
/// No payload is read or copied. Throws Error{ambiguous}, which names both originals, when two keys become one, and
/// what the adapter throws.
[[nodiscard]] HEFT_API Checkpoint adapt(const Checkpoint& checkpoint, const Adapter& adapter);
[[nodiscard]] HEFT_API Checkpoint adapt(const Checkpoint& checkpoint, const Adapter& adapter, const Filter& filter);

}  // namespace heft
