#include "heft/record.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/nearest_names.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "record/leaf_walk.hpp"
#include "record/record_access.hpp"
#include "record/scalar.hpp"
#include "record/tree.hpp"

namespace heft {
namespace {

using format::NodeKind;

// Returns the record's path, quoted, for messages.
std::string where(const std::string& path) {
  return path.empty() ? "the root" : fmt::format("'{}'", core::escaped(path));
}

// Returns the path of the opened file or folder.
std::string file_of(const Record& record) {
  const record::State* state = record::RecordAccess::state(record);
  return state == nullptr ? std::string() : state->path;
}

// Throws Error{type_mismatch}: "expected EXPECTED, 'PATH' is a KIND".
[[noreturn]] void fail_kind(const Record& record, std::string_view expected) {
  // An element of a list that cannot be read has no kind: the error of reading it says why.
  static_cast<void>(record::RecordAccess::node(record));
  const std::string path = record.path();
  throw Error(ErrorCode::type_mismatch,
              fmt::format("expected {}, {} is {}", expected, where(path), core::with_article(name(record.kind()))),
              {.path = file_of(record), .tensor = path});
}

// Returns " (did you mean 'a'?)" with the nearest keys; empty if none is near.
std::string nearest_keys(const Record& record, std::string_view key) {
  core::NearestNames nearest(key);
  for (std::size_t position = 0; position < record.size(); ++position)
    if (!nearest.offer(record.key(position))) break;
  return nearest.did_you_mean();
}

// Throws Error{not_found} for a container without the key, Error{type_mismatch} for a record that is no container.
[[noreturn]] void fail_missing(const Record& record, std::string_view key) {
  if (record.empty() && record.kind() != RecordKind::list && record.kind() != RecordKind::map &&
      record.kind() != RecordKind::opaque)
    fail_kind(record, fmt::format("a list or map to look up '{}' in", core::escaped(key)));
  const std::string path = record.path();
  // The keys of a list are its positions: the nearest one would not help.
  const std::string hint = record.kind() == RecordKind::list ? fmt::format(" (it is a list of {})", record.size())
                                                             : nearest_keys(record, key);
  throw Error(ErrorCode::not_found, fmt::format("no '{}' in {}{}", core::escaped(key), where(path), hint),
              {.path = file_of(record), .tensor = record::join_path(path, key)});
}

// Throws Error{out_of_range} for an integer that does not fit the type asked for.
[[noreturn]] void fail_range(const Record& record, std::string_view expected) {
  const std::string path = record.path();
  throw Error(ErrorCode::out_of_range, fmt::format("expected {}, {} does not fit", expected, where(path)),
              {.path = file_of(record), .tensor = path});
}

}  // namespace

std::string_view name(RecordKind kind) noexcept {
  static constexpr std::string_view names[] = {"null",  "boolean", "integer", "real",   "text",
                                               "bytes", "list",    "map",     "tensor", "opaque"};
  const auto index = static_cast<std::size_t>(kind);
  return index < std::size(names) ? names[index] : "unknown";
}

Record::Record() noexcept = default;

RecordKind Record::kind() const noexcept { return tree_ ? tree_->kind(node_) : RecordKind::null; }
std::string Record::path() const { return tree_ ? tree_->path(node_) : std::string(); }
std::string_view Record::detail() const& noexcept { return tree_ ? tree_->detail(node_) : std::string_view(); }
std::size_t Record::size() const noexcept { return tree_ ? tree_->count(node_) : 0; }

std::optional<Record> Record::find(std::string_view key) const noexcept {
  if (!tree_) return {};
  const auto node = tree_->find(node_, key);
  return node ? std::optional(Record(tree_, *node)) : std::nullopt;
}

Record Record::operator[](std::string_view key) const {
  if (auto found = find(key)) return *std::move(found);
  fail_missing(*this, key);
}

Record Record::operator[](std::size_t index) const {
  // A list has its elements in order, also where they are nodes of a trie. A map can have the number as a key.
  if (kind() == RecordKind::list && index < size()) return child(index);
  return (*this)[std::string_view(fmt::format_int(index).c_str())];
}

Record Record::operator[](int index) const {
  if (index >= 0) return (*this)[static_cast<std::size_t>(index)];
  return (*this)[std::string_view(fmt::format_int(index).c_str())];
}

Record Record::child(std::size_t position) const {
  if (position >= size())
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected a child below {} of {}, found {}", size(), where(path()), position),
                {.path = file_of(*this), .tensor = path()});
  Record child(tree_, tree_->child(node_, position));
  // Reads an element that lies in the file: kind() could not report that it is gone.
  if (kind() == RecordKind::list) static_cast<void>(record::RecordAccess::node(child));
  return child;
}

std::string Record::key(std::size_t position) const {
  if (position >= size())
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected a child below {} of {}, found {}", size(), where(path()), position),
                {.path = file_of(*this), .tensor = path()});
  return tree_->key(node_, position);
}

TensorView Record::tensor() const {
  if (kind() != RecordKind::tensor) fail_kind(*this, "a tensor");
  return tree_->tensor(node_);
}

bool Record::boolean() const {
  if (kind() != RecordKind::boolean) fail_kind(*this, "a boolean");
  return tree_->value(node_)->integer != 0;
}

std::int64_t Record::integer() const {
  if (kind() != RecordKind::integer) fail_kind(*this, "an integer");
  // Nothing for an integer over 64 bits, which pickles can have.
  const auto whole = record::integer_of(*record::RecordAccess::node(*this));
  // -2^63 has a magnitude one larger than INT64_MAX.
  const std::uint64_t most = whole && whole->negative ? std::uint64_t{1} << 63 : static_cast<std::uint64_t>(INT64_MAX);
  if (!whole || whole->magnitude > most) fail_range(*this, "an integer of 64 bits with a sign");
  return static_cast<std::int64_t>(whole->negative ? ~whole->magnitude + 1 : whole->magnitude);
}

std::uint64_t Record::unsigned_integer() const {
  if (kind() != RecordKind::integer) fail_kind(*this, "an integer");
  const auto whole = record::integer_of(*record::RecordAccess::node(*this));
  if (!whole || whole->negative) fail_range(*this, "an unsigned integer of 64 bits");
  return whole->magnitude;
}

double Record::real() const {
  const std::optional<format::Node> node = record::RecordAccess::node(*this);
  if (node && node->kind == NodeKind::real) return node->real;
  if (kind() != RecordKind::integer) fail_kind(*this, "a real");
  const auto whole = record::integer_of(*node);
  // A double represents integers exactly up to 2^53, and some above; converting back shows whether this is one.
  const double value = whole ? static_cast<double>(whole->magnitude) : 0.0;
  // Excludes 2^64, to which magnitudes near it round: converting it back would overflow.
  if (!whole || value >= 0x1p64 || static_cast<std::uint64_t>(value) != whole->magnitude)
    fail_range(*this, "an integer that is exact as a real");
  return whole->negative ? -value : value;
}

std::string_view Record::text() const& {
  if (kind() != RecordKind::text) fail_kind(*this, "text");
  const format::Node node = *tree_->value(node_);
  return {node.text, node.count};
}

Bytes Record::bytes() const {
  if (kind() != RecordKind::bytes && kind() != RecordKind::integer) fail_kind(*this, "bytes");
  const format::Node node = *tree_->value(node_);
  // An integer of 64 bits is in its node and has no bytes; a longer one is a byte range of the file.
  if (kind() == RecordKind::integer && node.count == 0) fail_kind(*this, "bytes");
  // The tree owns the catalog in which the text lies.
  return {std::as_bytes(std::span(node.text, node.count)), tree_};
}

std::string_view Record::class_name() const& {
  if (kind() != RecordKind::opaque) fail_kind(*this, "an opaque record");
  return tree_->class_name(node_);
}

std::uint64_t Record::tensor_count() const { return tree_ ? tree_->totals(node_).tensors : 0; }
std::uint64_t Record::tensor_bytes() const { return tree_ ? tree_->totals(node_).bytes : 0; }

}  // namespace heft
