// heft/bind.hpp: records into the caller's own structs, and structs into tensors to be saved.
//
// A struct says once what it is made of, in a member template that serves both directions:
//
//   struct Norm {
//     heft::Slice<heft::bf16> gamma;
//     std::optional<heft::TensorView> beta;
//     template <class Fields> void describe(Fields& f) {
//       f("gamma", gamma).alias("weight");
//       f("beta", beta).alias("bias");
//     }
//   };
//   Norm norm;
//   heft::LoadReport report = heft::bind(checkpoint.root()["model"]["norm"], norm);
//
// Fields may be: TensorView, Slice<T>, Record, bool, integers, float, double, std::string, structs with describe(), and
// std::optional, std::vector, std::array, std::map<std::string, ...> and std::variant of these. Views are bound, not
// elements: nothing is copied.
//
//   field                     record
//   TensorView                a tensor of any dtype; .shape() and .dtype() demand one
//   Slice<T>                  a tensor of T's dtype, contiguous and aligned
//   bool, integer, real       the same kind, or a tensor of one element of that kind; integers must fit; a real takes an integer only where
//                             .from_integer() says so and it is exact
//   std::string               text; else the checkpoint's metadata of that path
//   vector                    a list; a map whose keys are numbers with gaps too, in their order, where BindOptions::gaps allows
//   array<T, N>               a list of exactly N
//   map<string, T>            a list or map, by its keys
//   variant                   the alternative that .tag() names, or with .first_that_fits() the first that all of the record's checks let pass
//   optional                  nothing where the key is missing or null
//
// All or nothing: everything is checked before the caller's object is changed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "heft/bind_log.hpp"
#include "heft/bind_options.hpp"
#include "heft/bindable.hpp"
#include "heft/checkpoint.hpp"
#include "heft/field_reader.hpp"
#include "heft/field_writer.hpp"
#include "heft/load_report.hpp"
#include "heft/record.hpp"

namespace heft {

/// Fills `into` from `from`; what the fields do not mention stays. Gives the report, and leaves `into` as it was when
/// report.ok() is false. T is copied once: its views cost a reference count each. A T that cannot be copied is made
/// anew.
template <Bindable T>
LoadReport try_bind(const Record& from, T& into, const BindOptions& options = {}) {
  BindLog log(from, options);
  T fresh = [&]() -> T {
    if constexpr (std::is_copy_constructible_v<T>) return into;
    else return T{};
  }();
  detail::read_value(log, from, FieldSpec{}, fresh);
  LoadReport report = log.finish();
  if (report.ok()) into = std::move(fresh);
  return report;
}

/// The same; throws the first failure as an Error (not_found for a missing key, type_mismatch, out_of_range,
/// misaligned, ambiguous) whose sentence ends with how many more there are.
template <Bindable T>
LoadReport bind(const Record& from, T& into, const BindOptions& options = {}) {
  LoadReport report = try_bind(from, into, options);
  if (!report.ok()) BindLog::throw_first(report, from);
  return report;
}

template <Bindable T>
LoadReport bind(const Checkpoint& from, T& into, const BindOptions& options = {}) {
  return bind(from.root(), into, options);
}

/// The fields of `from` under their own names (not their aliases), in the order described. A Slice is saved with the
/// shape that .shape() declares, else with one dim; an optional that holds nothing is left out. Throws
/// Error{out_of_range} for a TensorView that was never set, or a Slice that does not fill its declared shape. `from` is
/// not changed: describe() is not const because it serves both directions.
template <Bindable T>
[[nodiscard]] FieldList fields_of(const T& from, const std::string& prefix = {}) {
  FieldList list;
  detail::write_value(list, prefix, FieldSpec{}, const_cast<T&>(from));
  return list;
}

}  // namespace heft
