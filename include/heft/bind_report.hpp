// heft/bind_report.hpp: the result of a bind(): the keys it used, those it missed, and those left over.
#pragma once

#include <string>
#include <vector>

#include "heft/error.hpp"
#include "heft/export.hpp"

namespace heft {

/// One reason why a bind() failed. Its members are what an Error of it would have; bind() throws the first as an Error.
struct BindError {
  ErrorCode code;       ///< not_found, type_mismatch, out_of_range, misaligned or ambiguous; what an adapter threw.
  std::string path;     ///< Full flat name of the record: "model.layers.0.norm.weight". Unescaped.
  std::string message;  ///< What was expected and what was found. Printable.
};

/// The report of bind() and try_bind(): full flat names of records, in the order in which the fields were read.
///
/// A value: const members may be called from several threads. Names are unescaped; to_string() is printable.
///
/// Example:
///   struct Norm { heft::TensorView weight; template <class F> void describe(F& f) { f("weight", weight); } } norm;
///   const heft::BindReport report = heft::try_bind(record, norm);
///   if (!report.ok() || !report.unused.empty()) std::cerr << report.to_string() << '\n';
struct HEFT_API BindReport {
  std::vector<std::string> applied;  ///< Read into a field, under its name or an alias.
  std::vector<std::string> missing;  ///< Required by a field and absent; no failures under Missing::use_default.
  std::vector<std::string> unused;   ///< Present, and read by no field. Failures under Strict::yes.
  std::vector<std::string> skipped;  ///< Left out by the Filter of an adapt().
  std::vector<BindError> errors;     ///< All failures, those of missing keys included. Empty: the struct was filled.

  /// True when the struct was filled.
  [[nodiscard]] bool ok() const noexcept { return errors.empty(); }
  /// Returns a text for people: the counts, and the first ten names of each list; next to a missing name the nearest of
  /// the unused ones. Names are escaped in it.
  [[nodiscard]] std::string to_string() const;
};

}  // namespace heft
