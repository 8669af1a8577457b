#include "heft/bind_log.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/nearest_names.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "record/leaf_walk.hpp"
#include "record/list_number.hpp"
#include "record/record_access.hpp"
#include "record/scalar.hpp"
#include "record/state.hpp"

namespace heft {
namespace {

// The number of missing fields with a hint of the nearest key. Each hint compares all keys of a container, so hints for
// all fields could take quadratic time.
constexpr std::size_t max_hints = 20;

// Returns " (did you mean 'a'?)" with the keys of `container` nearest to `key`; empty if none is near.
std::string nearest_keys(const Record& container, std::string_view key) {
  core::NearestNames nearest(key);
  for (std::size_t position = 0; position < container.size(); ++position)
    if (!nearest.offer(container.key(position))) break;
  return nearest.did_you_mean();
}

}  // namespace

BindLog::BindLog(Record root, const BindOptions& options)
    : root_(std::move(root)), options_(options), path_(root_.path()) {}

void BindLog::fail(ErrorCode code, std::string message) { report_.errors.push_back({code, path_, std::move(message)}); }

std::optional<BindLog::Child> BindLog::find(const Record& container, const FieldSpec& field) {
  std::optional<Child> found;
  if (auto record = container.find(field.name)) found = Child{std::string(field.name), *std::move(record)};
  // All aliases are looked up, also after one is found: with two of them in the file, either choice could be wrong.
  for (const std::string_view alias : field.aliases) {
    auto record = container.find(alias);
    if (!record) continue;
    if (found) {
      fail(ErrorCode::ambiguous,
           fmt::format("both '{}' and '{}' are there, for one field", core::escaped(found->key), core::escaped(alias)));
      return {};
    }
    found = Child{std::string(alias), *std::move(record)};
  }
  return found;
}

void BindLog::missing(const Record& container, const FieldSpec& field, bool is_failure) {
  const std::string hint = is_failure && hints_++ < max_hints ? nearest_keys(container, field.name) : std::string();
  // Extends path_ to the field while it lives, so that the failure is recorded under the field's name.
  const Scope scope(*this, field.name);
  report_.missing.push_back(path_);
  if (is_failure) fail(ErrorCode::not_found, fmt::format("missing{}", hint));
}

BindLog::Mark BindLog::mark() const noexcept {
  return {report_.applied.size(), report_.missing.size(), report_.errors.size(), subtrees_.size()};
}

void BindLog::forget(const Mark& since) {
  // An alternative of a variant that was tried and does not fit leaves no trace in the report.
  report_.applied.resize(since.applied);
  report_.missing.resize(since.missing);
  report_.errors.erase(report_.errors.begin() + static_cast<std::ptrdiff_t>(since.errors), report_.errors.end());
  subtrees_.resize(since.subtrees);
}

std::optional<TensorView> BindLog::tensor(const Record& record, const FieldSpec& field) {
  try {
    // The field's adapter comes first: the struct declares the dtype and the shape that it sees.
    TensorView view = field.reading ? field.reading(record.tensor()) : record.tensor();
    if (field.dtype && view.dtype() != *field.dtype)
      return fail(ErrorCode::type_mismatch, fmt::format("expected dtype {}, the tensor is {}", name(*field.dtype),
                                                        core::escaped(view.dtype_name()))),
             std::nullopt;
    if (field.shape && view.shape() != *field.shape)
      return fail(ErrorCode::type_mismatch, fmt::format("expected shape {}, found {}", heft::to_string(*field.shape),
                                                        heft::to_string(view.shape()))),
             std::nullopt;
    // Only after all checks: a field that failed is not listed as applied.
    apply();
    return view;
  } catch (const Error& error) {
    fail(error.code(), error.message());
    return {};
  }
}

// The number of a scalar record, or of a tensor of one element.
struct BindLog::Scalar : record::Scalar {};

std::optional<BindLog::Scalar> BindLog::scalar(const Record& record, std::string_view expected) {
  try {
    if (const auto value = record::scalar_of(record)) {
      apply();
      return Scalar{*value};
    }
    fail(ErrorCode::type_mismatch, fmt::format("expected {}, found {}", expected, record::describe(record)));
  } catch (const Error& error) {
    fail(error.code(), error.message());
  }
  return {};
}

std::optional<bool> BindLog::boolean(const Record& record) {
  const auto value = scalar(record, "a boolean");
  if (!value) return {};
  if (value->kind == RecordKind::boolean) return value->magnitude != 0;
  fail(ErrorCode::type_mismatch, fmt::format("expected a boolean, found {}", record::describe(record)));
  return {};
}

std::optional<std::int64_t> BindLog::integer(const Record& record, std::int64_t least, std::int64_t most) {
  const auto value = scalar(record, "an integer");
  if (!value) return {};
  if (value->kind != RecordKind::integer) {
    fail(ErrorCode::type_mismatch, fmt::format("expected an integer, found {}", record::describe(record)));
    return {};
  }
  // The magnitude of `least` is computed without a sign, because -INT64_MIN overflows.
  const std::uint64_t bound =
      value->negative ? ~static_cast<std::uint64_t>(least) + 1 : static_cast<std::uint64_t>(most);
  // Negated in two's complement, which is right for INT64_MIN too.
  if (value->magnitude <= bound)
    return static_cast<std::int64_t>(value->negative ? ~value->magnitude + 1 : value->magnitude);
  fail(ErrorCode::out_of_range, fmt::format("expected an integer from {} to {}, found {}{}", least, most,
                                            value->negative ? "-" : "", value->magnitude));
  return {};
}

std::optional<std::uint64_t> BindLog::unsigned_integer(const Record& record, std::uint64_t most) {
  const auto value = scalar(record, "an integer");
  if (!value) return {};
  if (value->kind != RecordKind::integer) {
    fail(ErrorCode::type_mismatch, fmt::format("expected an integer, found {}", record::describe(record)));
    return {};
  }
  if (!value->negative && value->magnitude <= most) return value->magnitude;
  fail(ErrorCode::out_of_range,
       fmt::format("expected an integer from 0 to {}, found {}{}", most, value->negative ? "-" : "", value->magnitude));
  return {};
}

std::optional<double> BindLog::real(const Record& record, double most, bool from_integer) {
  const auto value = scalar(record, "a real");
  if (!value) return {};
  if (value->kind == RecordKind::real) {
    // Infinity and NaN exist in every real type. A finite number over the bound would silently become infinity.
    if (!std::isfinite(value->real) || std::abs(value->real) <= most) return value->real;
    fail(ErrorCode::out_of_range, fmt::format("expected a real up to {}, found {}", most, value->real));
    return {};
  }
  if (value->kind == RecordKind::integer && from_integer) {
    // A float represents integers exactly only up to 2^24, a double up to 2^53. Converting back shows whether this one
    // is exact.
    const bool is_float = most < std::numeric_limits<double>::max();
    const double near = is_float ? static_cast<float>(value->magnitude) : static_cast<double>(value->magnitude);
    // Excludes 2^64, to which magnitudes near it round: converting it back would overflow.
    if (near < 0x1p64 && static_cast<std::uint64_t>(near) == value->magnitude) return value->negative ? -near : near;
    fail(ErrorCode::out_of_range,
         fmt::format("expected an integer that is exact as a real, found {}", value->magnitude));
    return {};
  }
  fail(ErrorCode::type_mismatch, fmt::format("expected a real, found {}", record::describe(record)));
  return {};
}

std::optional<std::string> BindLog::text(const Record& record) {
  if (record.kind() == RecordKind::text) {
    apply();
    return std::string(record.text());
  }
  fail(ErrorCode::type_mismatch, fmt::format("expected text, found {}", record::describe(record)));
  return {};
}

std::optional<std::string> BindLog::metadata_text(const FieldSpec& field) {
  const Scope scope(*this, field.name);
  // A format of tensors only has no records of other kinds; save() puts its texts into the metadata, under their paths.
  const auto value = record::RecordAccess::metadata(root_).find(path_);
  if (!value || value->kind() != RecordKind::text) return {};
  return std::string(value->text());
}

void BindLog::take_subtree() {
  apply();
  subtrees_.push_back(path_);
}

bool BindLog::closes_gaps() const {
  const record::State* state = record::RecordAccess::state(root_);
  // A Sequential of PyTorch numbers all layers, also those without parameters, so that its lists have gaps.
  return options_.gaps == Gaps::close || (options_.gaps == Gaps::by_format && state != nullptr && state->is_pytorch());
}

std::vector<BindLog::Child> BindLog::pairs(const Record& record) {
  std::vector<Child> children;
  if (!record::is_container(record)) {
    fail(ErrorCode::type_mismatch, fmt::format("expected a list or map, found {}", record::describe(record)));
    return children;
  }
  for (std::size_t position = 0; position < record.size(); ++position)
    children.push_back({record.key(position), record.child(position)});
  return children;
}

std::vector<BindLog::Child> BindLog::elements(const Record& record) {
  // Flat names with gaps in their numbers make a map, not a list. Its keys are sorted as numbers here: as text, "10"
  // would come before "2".
  std::vector<Child> children = pairs(record);
  if (record.kind() == RecordKind::list || children.empty()) return children;
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  for (std::size_t i = 0; i < children.size(); ++i) {
    const auto number = record::list_number(children[i].key);
    if (!number) {
      fail(ErrorCode::type_mismatch,
           fmt::format("expected a list, found a map with the key '{}'", core::escaped(children[i].key)));
      return {};
    }
    order.emplace_back(*number, i);
  }
  std::sort(order.begin(), order.end());
  // Distinct numbers have no gap if the last one is one less than their count. Equal ones ("1" and "01") are found
  // below.
  const bool has_gaps = order.back().first + 1 != order.size();
  if (has_gaps && !closes_gaps()) {
    fail(ErrorCode::type_mismatch,
         fmt::format("expected a list without gaps, found {} keys up to {}", order.size(), order.back().first));
    return {};
  }
  std::vector<Child> sorted;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && order[i].first == order[i - 1].first) {
      fail(ErrorCode::ambiguous,
           fmt::format("'{}' and '{}' are one index", core::escaped(children[order[i - 1].second].key),
                       core::escaped(children[order[i].second].key)));
      return {};
    }
    sorted.push_back(std::move(children[order[i].second]));
  }
  return sorted;
}

bool BindLog::has_fields(const Record& record) {
  if (record::is_container(record)) return true;
  fail(ErrorCode::type_mismatch, fmt::format("expected a map of fields, found {}", record::describe(record)));
  return false;
}

std::optional<std::size_t> BindLog::alternative(const Record& record, const FieldSpec& field, std::size_t count) {
  // A mistake in describe(), not in the file, which the compiler cannot find.
  if (field.tag.empty() || field.alternatives.size() != count) {
    fail(ErrorCode::out_of_range,
         fmt::format("a variant of {} alternatives needs untagged(), or a tag() with a name for each", count));
    return {};
  }
  const Scope scope(*this, field.tag);
  // The tag is a text among the record's fields, or text of the metadata in a format of tensors only.
  const auto tag = record.find(field.tag);
  std::optional<std::string> said;
  if (tag)
    said = text(*tag);
  else if (auto value = record::RecordAccess::metadata(root_).find(path_); value && value->kind() == RecordKind::text)
    said = std::string(value->text());
  else
    fail(ErrorCode::not_found, "missing: it names the variant's alternative");
  if (!said) return {};
  const auto found = std::find(field.alternatives.begin(), field.alternatives.end(), *said);
  if (found != field.alternatives.end()) return static_cast<std::size_t>(found - field.alternatives.begin());
  fail(ErrorCode::out_of_range,
       fmt::format("expected one of '{}', found '{}'", fmt::join(field.alternatives, "', '"), core::escaped(*said)));
  return {};
}

// Collects leaves that no field used. Empty containers are ignored.
void BindLog::collect_unused() {
  // Sets of views: the lists of the report do not grow during the walk, except `unused`.
  const std::unordered_set<std::string_view> applied(report_.applied.begin(), report_.applied.end());
  const std::unordered_set<std::string_view> subtrees(subtrees_.begin(), subtrees_.end());
  record::LeafWalk walk(root_, root_.path(), [&](const std::string& path) { return subtrees.contains(path); });
  for (record::Leaf leaf; walk.next(leaf);)
    if (!record::is_container(leaf.record) && !applied.contains(leaf.path)) report_.unused.push_back(leaf.path);
}

BindReport BindLog::finish() {
  collect_unused();
  // Filters work on the whole checkpoint; only names below the bound record concern this struct.
  const std::string prefix = path_.empty() ? std::string() : path_ + ".";
  if (const record::State* state = record::RecordAccess::state(root_))
    for (const std::string& name : state->skipped)
      if (name.starts_with(prefix)) report_.skipped.push_back(name);
  if (options_.strict == Strict::yes)
    for (const std::string& name : report_.unused)
      report_.errors.push_back({ErrorCode::out_of_range, name, "no field wants this key"});
  return std::move(report_);
}

void BindLog::throw_first(const BindReport& report, const Record& from) {
  const record::State* state = record::RecordAccess::state(from);
  const BindError& first = report.errors.front();
  const std::size_t more = report.errors.size() - 1;
  // All errors are in the report. The exception has the first one, whose code a caller can act on.
  throw Error(first.code, more == 0 ? first.message : fmt::format("{} (and {} more)", first.message, more),
              {.path = state == nullptr ? std::string() : state->path, .tensor = first.path});
}

}  // namespace heft
