// heft/bind.hpp: fills the caller's structs from records, and turns structs into tensors to be saved.
//
// A struct describes itself once, in a member template that serves both directions:
//
// Example:
//   struct Norm {
//     heft::Slice<heft::bf16> gamma;
//     std::optional<heft::TensorView> beta;
//     template <class Fields> void describe(Fields& f) {
//       f("gamma", gamma).alias("weight");
//       f("beta", beta).alias("bias");
//     }
//   };
//   Norm norm;
//   const heft::BindReport report = heft::bind(checkpoint.root()["model"]["norm"], norm);
//
// Fields can be: TensorView, Slice<T>, Record, bool, integers, float, double, std::string, structs with describe(), and
// std::optional, std::vector, std::array, std::map<std::string, ...> and std::variant of these. A bind makes views and
// copies no elements.
//
//   field                     record
//   TensorView                a tensor of any dtype; .shape() and .dtype() require one
//   Slice<T>                  a tensor of T's dtype, contiguous and aligned
//   bool, integer, real       the same kind, or a tensor of one element of that kind; integers must fit the type; a
//                             real accepts an integer only with .from_integer(), and only if it is exact
//   std::string               a text; else the checkpoint's metadata of that path
//   vector                    a list; a map of numbers with gaps, in the order of the numbers, where BindOptions::gaps
//                             allows it
//   array<T, N>               a list of exactly N
//   map<string, T>            a list or map, by its keys
//   variant                   the alternative that .tag() names, or with .untagged() the first for which the
//                             record passes all checks
//   optional                  empty where the key is missing or the record a null
//
// All or nothing: the caller's object changes only when every field was read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "heft/bind_log.hpp"
#include "heft/bind_options.hpp"
#include "heft/bind_report.hpp"
#include "heft/bindable.hpp"
#include "heft/checkpoint.hpp"
#include "heft/field_reader.hpp"
#include "heft/field_writer.hpp"
#include "heft/record.hpp"

namespace heft {

/// Fills `into` from `from` and returns the report. Members that describe() does not mention keep their values. When
/// report.ok() is false, `into` is unchanged.
///
/// T is copied once, because the fields are read into the copy: each view costs a reference count. A T that cannot be
/// copied is default-constructed instead. Throws std::bad_alloc, and what an adapter throws that is not an Error. May
/// be called from several threads, for different objects.
template <Bindable T>
BindReport try_bind(const Record& from, T& into, const BindOptions& options = {}) {
  BindLog log(from, options);
  T fresh = [&]() -> T {
    if constexpr (std::is_copy_constructible_v<T>)
      return into;
    else
      return T{};
  }();
  detail::read_value(log, from, FieldSpec{}, fresh);
  BindReport report = log.finish();
  if (report.ok()) into = std::move(fresh);
  return report;
}

/// The same, but throws the first failure as an Error: not_found for a missing key, type_mismatch, out_of_range,
/// misaligned, ambiguous. Its message ends with the number of further failures.
template <Bindable T>
BindReport bind(const Record& from, T& into, const BindOptions& options = {}) {
  BindReport report = try_bind(from, into, options);
  if (!report.ok()) BindLog::throw_first(report, from);
  return report;
}

/// Binds the root of a checkpoint.
template <Bindable T>
BindReport bind(const Checkpoint& from, T& into, const BindOptions& options = {}) {
  return bind(from.root(), into, options);
}

/// Returns the fields of `from` under their own names (not their aliases), in the order of describe(), with `prefix`
/// and a dot before each. A Slice has the shape that .shape() declares, else one dim; an empty optional is left out.
/// Throws Error{out_of_range} for a default-constructed TensorView, or a Slice that does not fill its declared shape.
/// `from` is not changed: the cast below removes const because describe() serves both directions.
template <Bindable T>
[[nodiscard]] FieldList fields_of(const T& from, const std::string& prefix = {}) {
  FieldList list;
  detail::write_value(list, prefix, FieldSpec{}, const_cast<T&>(from));
  return list;
}

}  // namespace heft
