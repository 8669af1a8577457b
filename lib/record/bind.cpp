#include "heft/bind.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/text.hpp"
#include "heft/error.hpp"
#include "record/record_access.hpp"
#include "record/scalar.hpp"
#include "record/state.hpp"

namespace heft {
namespace {

constexpr std::size_t shown = 10;  // entries of each list of a report

bool is_container(const Record& record) noexcept {
  const RecordKind kind = record.kind();
  return kind == RecordKind::list || kind == RecordKind::map || kind == RecordKind::opaque;
}

std::vector<std::string> keys_of(const Record& record) {
  std::vector<std::string> keys;
  for (std::size_t position = 0; position < record.count(); ++position) keys.push_back(record.key(position));
  return keys;
}

std::string nearest_keys(const Record& container, std::string_view key) {
  const std::vector<std::string> keys = keys_of(container);
  return core::did_you_mean(key, std::vector<std::string_view>(keys.begin(), keys.end()));
}

std::optional<std::uint64_t> list_number(std::string_view key) noexcept {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), number);
  return error == std::errc() && end == key.data() + key.size() && !key.empty() ? std::optional(number) : std::nullopt;
}

void append_list(std::string& out, std::string_view title, const std::vector<std::string>& names) {
  if (names.empty()) return;
  out += fmt::format("\n{} {}:", names.size(), title);
  for (std::size_t i = 0; i < std::min(shown, names.size()); ++i) out += fmt::format("\n  {}", core::escaped(names[i]));
  if (names.size() > shown) out += "\n  ...";
}

}  // namespace

std::string LoadReport::to_string() const {
  std::string out = fmt::format("{}: {} applied", ok() ? "ok" : "failed", applied.size());
  append_list(out, "missing", missing);
  append_list(out, "unused", unused);
  append_list(out, "skipped", skipped);
  std::vector<std::string> lines;
  for (const BindError& error : errors) lines.push_back(fmt::format("{}: {}", error.path, error.sentence));
  append_list(out, "errors", lines);
  return out;
}

BindLog::BindLog(Record root, const BindOptions& options) : root_(std::move(root)), options_(options), path_(root_.path()) {}

void BindLog::fail(ErrorCode code, std::string sentence) { report_.errors.push_back({code, path_, std::move(sentence)}); }

std::optional<BindLog::Child> BindLog::find(const Record& container, const FieldSpec& field) {
  std::optional<Child> found;
  if (auto record = container.find(field.name)) found = Child{std::string(field.name), *std::move(record)};
  for (const std::string_view alias : field.aliases) {
    auto record = container.find(alias);
    if (!record) continue;
    if (found) {
      fail(ErrorCode::ambiguous, fmt::format("both '{}' and '{}' are there, for one field", core::escaped(found->key), core::escaped(alias)));
      return {};
    }
    found = Child{std::string(alias), *std::move(record)};
  }
  return found;
}

void BindLog::missing(const Record& container, const FieldSpec& field, bool is_failure) {
  const std::string hint = nearest_keys(container, field.name);
  const Scope scope(*this, field.name);
  report_.missing.push_back(path_);
  if (is_failure) fail(ErrorCode::not_found, fmt::format("missing{}", hint));
}

BindLog::Mark BindLog::mark() const noexcept {
  return {report_.applied.size(), report_.missing.size(), report_.errors.size(), subtrees_.size()};
}

void BindLog::forget(const Mark& since) {
  report_.applied.resize(since.applied);
  report_.missing.resize(since.missing);
  report_.errors.erase(report_.errors.begin() + static_cast<std::ptrdiff_t>(since.errors), report_.errors.end());
  subtrees_.resize(since.subtrees);
}

std::optional<TensorView> BindLog::tensor(const Record& record, const FieldSpec& field) {
  try {
    TensorView view = field.reading ? field.reading(record.tensor()) : record.tensor();
    if (field.dtype && view.dtype() != *field.dtype)
      return fail(ErrorCode::type_mismatch, fmt::format("expected dtype {}, the tensor is {}", name(*field.dtype), view.dtype_name())), std::nullopt;
    if (field.shape && view.shape() != *field.shape)
      return fail(ErrorCode::type_mismatch, fmt::format("expected shape {}, found {}", heft::to_string(*field.shape), heft::to_string(view.shape()))), std::nullopt;
    apply();
    return view;
  } catch (const Error& error) {
    fail(error.code(), error.sentence());
    return {};
  }
}

// The scalar that a record is, or a tensor of one element holds.
struct BindLog::Scalar : record::Scalar {};

std::optional<BindLog::Scalar> BindLog::scalar(const Record& record, std::string_view expected) {
  try {
    if (const auto value = record::scalar_of(record)) {
      apply();
      return Scalar{*value};
    }
    fail(ErrorCode::type_mismatch, fmt::format("expected {}, found {}", expected, record::describe(record)));
  } catch (const Error& error) {
    fail(error.code(), error.sentence());
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
  const std::uint64_t bound = value->negative ? ~static_cast<std::uint64_t>(least) + 1 : static_cast<std::uint64_t>(most);
  if (value->magnitude <= bound) return static_cast<std::int64_t>(value->negative ? ~value->magnitude + 1 : value->magnitude);
  fail(ErrorCode::out_of_range, fmt::format("expected an integer from {} to {}, found {}{}", least, most, value->negative ? "-" : "", value->magnitude));
  return {};
}

std::optional<std::uint64_t> BindLog::natural(const Record& record, std::uint64_t most) {
  const auto value = scalar(record, "an integer");
  if (!value) return {};
  if (value->kind != RecordKind::integer) {
    fail(ErrorCode::type_mismatch, fmt::format("expected an integer, found {}", record::describe(record)));
    return {};
  }
  if (!value->negative && value->magnitude <= most) return value->magnitude;
  fail(ErrorCode::out_of_range, fmt::format("expected an integer from 0 to {}, found {}{}", most, value->negative ? "-" : "", value->magnitude));
  return {};
}

std::optional<double> BindLog::real(const Record& record, double most, bool from_integer) {
  const auto value = scalar(record, "a real");
  if (!value) return {};
  if (value->kind == RecordKind::real) {
    if (!std::isfinite(value->real) || std::abs(value->real) <= most) return value->real;
    fail(ErrorCode::out_of_range, fmt::format("expected a real up to {}, found {}", most, value->real));
    return {};
  }
  if (value->kind == RecordKind::integer && from_integer) {
    // A float holds every integer up to 2^24, a double up to 2^53.
    const std::uint64_t bound = std::uint64_t{1} << (most < std::numeric_limits<double>::max() ? 24 : 53);
    const double exact = static_cast<double>(value->magnitude);
    if (value->magnitude <= bound) return value->negative ? -exact : exact;
    fail(ErrorCode::out_of_range, fmt::format("expected an integer that is exact as a real, found {}", value->magnitude));
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
  return options_.gaps == Gaps::close || (options_.gaps == Gaps::by_format && state != nullptr && state->is_pytorch());
}

std::vector<BindLog::Child> BindLog::pairs(const Record& record) {
  std::vector<Child> children;
  if (!is_container(record)) {
    fail(ErrorCode::type_mismatch, fmt::format("expected a list or map, found {}", record::describe(record)));
    return children;
  }
  for (std::size_t position = 0; position < record.count(); ++position) children.push_back({record.key(position), record.child(position)});
  return children;
}

std::vector<BindLog::Child> BindLog::elements(const Record& record) {
  std::vector<Child> children = pairs(record);
  if (record.kind() == RecordKind::list || children.empty()) return children;
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  for (std::size_t i = 0; i < children.size(); ++i) {
    const auto number = list_number(children[i].key);
    if (!number) {
      fail(ErrorCode::type_mismatch, fmt::format("expected a list, found a map with the key '{}'", core::escaped(children[i].key)));
      return {};
    }
    order.emplace_back(*number, i);
  }
  std::sort(order.begin(), order.end());
  const bool has_gaps = order.back().first + 1 != order.size();
  if (has_gaps && !closes_gaps()) {
    fail(ErrorCode::type_mismatch, fmt::format("expected a list without gaps, found {} keys up to {}", order.size(), order.back().first));
    return {};
  }
  std::vector<Child> sorted;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && order[i].first == order[i - 1].first) {
      fail(ErrorCode::ambiguous, fmt::format("'{}' and '{}' are one index", core::escaped(children[order[i - 1].second].key), core::escaped(children[order[i].second].key)));
      return {};
    }
    sorted.push_back(std::move(children[order[i].second]));
  }
  return sorted;
}

bool BindLog::has_fields(const Record& record) {
  if (is_container(record)) return true;
  fail(ErrorCode::type_mismatch, fmt::format("expected a map of fields, found {}", record::describe(record)));
  return false;
}

std::optional<std::size_t> BindLog::alternative(const Record& record, const FieldSpec& field, std::size_t count) {
  if (field.tag.empty() || field.alternatives.size() != count) {
    fail(ErrorCode::out_of_range, fmt::format("a variant of {} alternatives needs first_that_fits(), or a tag() with a name for each", count));
    return {};
  }
  const Scope scope(*this, field.tag);
  const auto tag = record.find(field.tag);
  std::optional<std::string> said;
  if (tag) said = text(*tag);
  else if (auto value = record::RecordAccess::metadata(root_).find(path_); value && value->kind() == RecordKind::text) said = std::string(value->text());
  else fail(ErrorCode::not_found, "missing: it names the variant's alternative");
  if (!said) return {};
  const auto found = std::find(field.alternatives.begin(), field.alternatives.end(), *said);
  if (found != field.alternatives.end()) return static_cast<std::size_t>(found - field.alternatives.begin());
  fail(ErrorCode::out_of_range, fmt::format("expected one of '{}', found '{}'", fmt::join(field.alternatives, "', '"), core::escaped(*said)));
  return {};
}

// Leaves that no field asked for. Containers are walked with their paths in hand: asking each leaf for its own could cost a search.
void BindLog::collect_unused() {
  const std::unordered_set<std::string_view> applied(report_.applied.begin(), report_.applied.end());
  const std::unordered_set<std::string_view> subtrees(subtrees_.begin(), subtrees_.end());
  const record::State* state = record::RecordAccess::state(root_);
  std::vector<Child> left{{root_.path(), root_}};
  // Containers of a pickle may be shared or cyclic: the walk is bounded as all others are.
  for (std::uint64_t visits = state == nullptr ? 1 : state->limits.record_visits; !left.empty() && visits > 0; --visits) {
    const Child at = std::move(left.back());
    left.pop_back();
    if (subtrees.contains(at.key)) continue;
    // An empty container holds nothing that a field could want.
    if (!is_container(at.record)) {
      if (!applied.contains(at.key)) report_.unused.push_back(at.key);
      continue;
    }
    for (std::size_t position = at.record.count(); position-- > 0;) {
      const std::string key = at.record.key(position);
      left.push_back({key.empty() || at.key.empty() ? at.key + key : at.key + "." + key, at.record.child(position)});
    }
  }
}

LoadReport BindLog::finish() {
  collect_unused();
  const std::string prefix = path_.empty() ? std::string() : path_ + ".";
  if (const record::State* state = record::RecordAccess::state(root_))
    for (const std::string& name : state->skipped)
      if (name.starts_with(prefix)) report_.skipped.push_back(name);
  if (options_.strict == Strict::yes)
    for (const std::string& name : report_.unused) report_.errors.push_back({ErrorCode::out_of_range, name, "no field wants this key"});
  return std::move(report_);
}

void BindLog::throw_first(const LoadReport& report) {
  const BindError& first = report.errors.front();
  const std::size_t more = report.errors.size() - 1;
  throw Error(first.code, more == 0 ? first.sentence : fmt::format("{} (and {} more)", first.sentence, more), {.tensor = first.path});
}

void FieldList::add(const std::string& path, const FieldSpec& field, const TensorView& view) {
  if (view.dtype() == DType::unknown && view.storage_bytes() == 0)
    throw Error(ErrorCode::out_of_range, "the field was never set", {.tensor = path});
  TensorView saved = field.writing ? field.writing(view) : view;
  tensors.push_back(saved.renamed(path));
}

void FieldList::add_elements(const std::string& path, const FieldSpec& field, DType dtype, Bytes elements, std::size_t count) {
  const Shape shape = field.shape ? *field.shape : Shape{static_cast<std::int64_t>(count)};
  add(path, field, TensorView::over(path, dtype, shape, std::move(elements)));
}

void FieldList::add_scalar(const std::string& path, const FieldSpec& field, DType dtype, std::span<const std::byte> value) {
  add(path, field, TensorView::over(path, dtype, Shape{}, Bytes::copy_of(value)));
}

void FieldList::add_tag(const std::string& path, const FieldSpec& field, std::size_t index) {
  if (field.tag.empty()) return;
  if (index >= field.alternatives.size()) throw Error(ErrorCode::out_of_range, "the tag has no name for this alternative", {.tensor = path});
  metadata.emplace_back(path.empty() ? std::string(field.tag) : fmt::format("{}.{}", path, field.tag), std::string(field.alternatives[index]));
}

void FieldList::add_record(const std::string& path, const FieldSpec& field, const Record& record) {
  std::vector<BindLog::Child> left{{path, record}};
  while (!left.empty()) {
    const BindLog::Child at = std::move(left.back());
    left.pop_back();
    if (at.record.kind() == RecordKind::tensor) add(at.key, field, at.record.tensor());
    for (std::size_t position = at.record.count(); position-- > 0;) {
      const std::string key = at.record.key(position);
      left.push_back({key.empty() || at.key.empty() ? at.key + key : at.key + "." + key, at.record.child(position)});
    }
  }
}

}  // namespace heft
