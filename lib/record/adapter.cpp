#include "heft/adapter.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "heft/error.hpp"
#include "record/derive.hpp"
#include "record/pattern.hpp"

namespace heft {
namespace {

// Splits "a.b.weight" into "a.b" and "weight"; a name without a dot has only a last part.
std::pair<std::string_view, std::string_view> split_last(std::string_view name) noexcept {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return {{}, name};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

// Returns the view with `part` in place of the last part of its name.
TensorView with_last_part(const TensorView& view, std::string_view part) {
  const auto [module, last] = split_last(view.name());
  // A name whose only dot is in front has an empty module too, and keeps the dot.
  return view.renamed(module.empty() && last.size() == view.name().size() ? std::string(part)
                                                                          : fmt::format("{}.{}", module, part));
}

// Returns true for norms, whose scale and shift PyTorch calls weight and bias, other frameworks gamma and beta.
bool has_gamma_and_beta(ModuleKind kind) noexcept {
  return kind == ModuleKind::batch_norm || kind == ModuleKind::layer_norm || kind == ModuleKind::group_norm ||
         kind == ModuleKind::rms_norm;
}

// Returns true for the running statistics of a norm; other layers have no parameters of these names.
bool is_running_statistic(std::string_view name) noexcept {
  const std::string_view parameter = split_last(name).second;
  return parameter == "running_mean" || parameter == "running_var";
}

// Returns true if the adapter returned the view as it was. Compares all that an adapter can change; the bytes
// themselves are the same if the storage is.
bool unchanged(const TensorView& before, const TensorView& after) noexcept {
  return before.name() == after.name() && before.shape() == after.shape() && before.strides() == after.strides() &&
         before.dtype() == after.dtype() && before.wanted_dtype() == after.wanted_dtype() &&
         before.pieces().data() == after.pieces().data() && before.offset() == after.offset() &&
         (before.shares_storage_with(after) || before.storage_bytes() == 0);
}

// Returns the checkpoint with each tensor as the adapter returns it, without those that the filter does not accept. The
// filter examines the adapted view, so that patterns match the new names.
Checkpoint adapt_and_filter(const Checkpoint& checkpoint, const Adapter& adapter, const Filter* filter) {
  record::Derivation derived(checkpoint);
  for (std::size_t number = 0; number < derived.tensor_count(); ++number) {
    const TensorView before = derived.tensor(number);
    const TensorView after = adapter ? adapter(before) : before;
    // An unchanged tensor stays an entry of its catalog, 8 bytes; a replaced one is a whole TensorView.
    if (filter != nullptr && !(*filter)(after))
      derived.skip(number, after.name());
    else if (!unchanged(before, after))
      derived.replace(number, after);
    else
      derived.rename(number, before.name());
  }
  // Values other than tensors pass: adapters and filters see tensors only.
  for (std::size_t key = derived.tensor_count(); key < derived.key_count(); ++key)
    derived.rename(key, derived.key(key));
  return std::move(derived).finish();
}

}  // namespace

struct [[gnu::visibility("hidden")]] ModuleKinds::Row {
  record::Pattern pattern;
  ModuleKind kind;
};

ModuleKinds::ModuleKinds() noexcept = default;

ModuleKinds& ModuleKinds::add(std::string_view pattern, ModuleKind kind) {
  rows_.push_back(std::make_shared<const Row>(Row{record::Pattern(pattern), kind}));
  return *this;
}

ModuleKind ModuleKinds::of_parameter(std::string_view name) const {
  // The first row that matches decides, so that exceptions can be added before a general rule.
  const std::string_view module = split_last(name).first;
  const auto row = std::find_if(rows_.begin(), rows_.end(),
                                [&](const auto& candidate) { return candidate->pattern.matches(module); });
  return row == rows_.end() ? ModuleKind::other : (*row)->kind;
}

Adapter pytorch_to_row_major_linear(ModuleKinds modules) {
  return [modules = std::move(modules)](TensorView view) {
    const ModuleKind kind = modules.of_parameter(view.name());
    const std::string_view parameter = split_last(view.name()).second;
    // PyTorch stores [out, in] and multiplies by the transposed; a row-major layer stores [in, out]. The transposed
    // view has exchanged strides and copies nothing.
    if (kind == ModuleKind::linear && parameter == "weight" && view.rank() == 2) return view.transpose(0, 1);
    if (has_gamma_and_beta(kind) && parameter == "weight") return with_last_part(view, "gamma");
    if (has_gamma_and_beta(kind) && parameter == "bias") return with_last_part(view, "beta");
    return view;
  };
}

Adapter half_precision(HalfPrecision options) {
  if (options.to != DType::f16 && options.to != DType::f32)
    throw Error(ErrorCode::out_of_range,
                fmt::format("half_precision converts to f16 or f32, not to {}", name(options.to)));
  Filter chosen;
  for (const std::string& pattern : options.patterns) chosen.matching(pattern);
  const DType from = options.to == DType::f16 ? DType::f32 : DType::f16;
  return [from, to = options.to, all = options.patterns.empty(), chosen = std::move(chosen),
          modules = std::move(options.modules)](const TensorView& view) {
    // Batch norm divides by running variances, which can be beyond the range of f16 in both directions.
    const bool spared =
        is_running_statistic(view.name()) || modules.of_parameter(view.name()) == ModuleKind::batch_norm;
    // wanted_dtype(), not dtype(): an adapter before this one can have asked for another dtype.
    return view.wanted_dtype() == from && (all || chosen(view)) && !spared ? view.cast_on_load(to) : view;
  };
}

Adapter cast_floats(DType dtype) {
  // Not quantized or packed types, whose elements have no value without their scales.
  const auto is_real = [](DType type) { return info(type).category == DTypeCategory::real && is_plain(type); };
  if (!is_real(dtype))
    throw Error(ErrorCode::out_of_range, fmt::format("cast_floats expects a plain real dtype, found {}", name(dtype)));
  return [dtype, is_real](const TensorView& view) { return is_real(view.dtype()) ? view.cast_on_load(dtype) : view; };
}

Filter::Filter() noexcept = default;

Filter& Filter::matching(std::string_view pattern) {
  conditions_.emplace_back([compiled = std::make_shared<const record::Pattern>(pattern)](const TensorView& view) {
    return compiled->matches(view.name());
  });
  return *this;
}

Filter& Filter::named(std::string name) {
  conditions_.emplace_back([name = std::move(name)](const TensorView& view) { return view.name() == name; });
  return *this;
}

Filter& Filter::where(std::function<bool(const TensorView&)> condition) {
  conditions_.push_back(std::move(condition));
  return *this;
}

bool Filter::operator()(const TensorView& view) const {
  // One condition is enough. A filter without conditions accepts no view.
  return std::any_of(conditions_.begin(), conditions_.end(), [&](const auto& condition) { return condition(view); });
}

Checkpoint adapt(const Checkpoint& checkpoint, const Adapter& adapter) {
  return adapt_and_filter(checkpoint, adapter, nullptr);
}

Checkpoint adapt(const Checkpoint& checkpoint, const Adapter& adapter, const Filter& filter) {
  return adapt_and_filter(checkpoint, adapter, &filter);
}

}  // namespace heft
