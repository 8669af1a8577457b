// heft/load_report.hpp: what a bind() did: which keys it used, which it missed, which were left.
#pragma once

#include <string>
#include <vector>

#include "heft/error.hpp"
#include "heft/export.hpp"

namespace heft {

/// Something that kept a bind() from succeeding.
struct BindError {
  ErrorCode code;
  std::string path;      ///< Full flat name of the record.
  std::string sentence;  ///< What was expected and what was found.
};

/// Full flat names of records, in the order in which they came. A value.
struct HEFT_API LoadReport {
  std::vector<std::string> applied;  ///< Read into a field, under their own name or an alias.
  std::vector<std::string> missing;  ///< Wanted by a field and not there; under Missing::use_default these are no failure.
  std::vector<std::string> unused;   ///< There, and wanted by no field. Under Strict::yes these are failures.
  std::vector<std::string> skipped;  ///< Left out by a Filter.
  std::vector<BindError> errors;     ///< Failures, "missing" among them. Empty: the struct was filled.

  [[nodiscard]] bool ok() const noexcept { return errors.empty(); }
  /// For people: the counts, and the first ten of each list; beside a missing name the nearest of the unused ones.
  [[nodiscard]] std::string to_string() const;
};

}  // namespace heft
