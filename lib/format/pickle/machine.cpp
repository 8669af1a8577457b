#include "format/pickle/machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/pickle/latin1.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t max_line_bytes = 1u << 20;
constexpr std::uint32_t small_integers = 256;
constexpr std::uint64_t max_expected_values = 1u << 22;
constexpr std::uint64_t expected_chunks = 32;
// Memo slots up to this far past the end go into the vector, farther ones into a map, so that a huge index costs one
// entry.
constexpr std::uint64_t memo_slack = 4096;
// Allocated bytes of a node of these maps.
constexpr std::uint64_t far_memo_node_bytes = 64;
constexpr std::uint64_t global_node_bytes = 96;

}  // namespace

void PickleMachine::fail(ErrorCode code, std::string_view finding) const {
  throw Error(code, fmt::format("{}: {}", what_, finding), {.offset = opcode_at_});
}

void PickleMachine::wrong_kind(std::string_view operation, std::string_view expected, std::uint32_t found) const {
  corrupt(fmt::format("{}: expected {}, found a value of kind {}", operation, expected, name(pickle_.kind(found))));
}

void PickleMachine::require_bytes(std::uint64_t size) const {
  // Bytes that were left in the file take no memory, so they do not count.
  const std::uint64_t used = cursor_.offset() - pickle_.begin - pickle_.left_bytes;
  if (core::inside(used, size, limits_.pickle_bytes)) return;
  core::require_limit(core::checked_add(used, size).value_or(UINT64_MAX), limits_.pickle_bytes,
                      fmt::format("size of {}", what_), "pickle_bytes", opcode_at_);
}

void PickleMachine::stack_is_full(std::size_t size) const {
  core::require_limit(size + 1, limits_.pickle_stack, fmt::format("stack of {}", what_), "pickle_stack", opcode_at_);
}

std::string_view PickleMachine::line() { return cursor_.line(max_line_bytes, what_); }

// ---- values

void PickleMachine::add_constants() {
  // Reserves more values than a state dict of that many bytes has. Unused ones cost address space only. Bounded by the
  // chunk as well: a stream of many short pickles would else reserve the size of its rest for each of them.
  const std::uint64_t expected_bytes = std::min(cursor_.remaining(), expected_chunks * cursor_.first_chunk_bytes());
  const auto expected = static_cast<std::size_t>(std::min(expected_bytes / 12, max_expected_values));
  pickle_.values.reserve(expected);
  pickle_.items.reserve(expected * 3);
  memo_.reserve(expected);
  PickleValue boolean;
  boolean.kind = PickleKind::boolean;
  boolean.integer = 1;
  PickleValue tuple;
  tuple.kind = PickleKind::tuple;
  pickle_.values.insert(pickle_.values.end(), {PickleValue{}, boolean, boolean, tuple});
  pickle_.values[Pickle::no].integer = 0;
  // BININT1 pushes one of these without adding a value: sizes, strides and flags of tensors mostly fit a byte.
  for (std::uint32_t i = 0; i < small_integers; ++i) add_integer(i);
}

std::uint32_t PickleMachine::add(PickleValue value) {
  // Limits::pickle_operations bounds the values, at most two for each opcode; this check is for raised limits.
  if (pickle_.values.size() >= Pickle::absent) fail(ErrorCode::limit_exceeded, "over 4294967294 values");
  pickle_.values.push_back(value);
  return static_cast<std::uint32_t>(pickle_.values.size() - 1);
}

std::uint32_t PickleMachine::add_integer(std::int64_t number) {
  PickleValue value;
  value.kind = PickleKind::integer;
  value.integer = number;
  return add(value);
}

std::uint32_t PickleMachine::add_number(const PickleNumber& number, std::string_view bytes) {
  PickleValue value;
  value.kind = number.kind;
  // Booleans are two of the constants.
  if (number.kind == PickleKind::boolean) return number.bits ? Pickle::yes : Pickle::no;
  value.unsigned_integer = number.bits;
  if (number.kind == PickleKind::big_integer) {
    value.count = static_cast<std::uint32_t>(bytes.size());
    value.text = bytes.data();
  }
  return add(value);
}

std::uint32_t PickleMachine::add_text(std::string_view text) {
  if (!core::is_utf8(text)) {
    // Python can write a str with lone surrogates, which is no UTF-8. It is kept as bytes, so that no text of a
    // Catalog is invalid.
    if (!is_utf8_with_surrogates(text)) corrupt("text that is not UTF-8");
    return add_bytes(text, cursor_.offset() - text.size());
  }
  PickleValue value;
  value.kind = PickleKind::text;
  value.count = static_cast<std::uint32_t>(text.size());
  value.text = text.data();
  return add(value);
}

std::uint32_t PickleMachine::add_text_or_bytes(std::string_view text) {
  return core::is_utf8(text) ? add_text(text) : add_bytes(text, cursor_.offset() - text.size());
}

std::uint32_t PickleMachine::add_bytes(std::string_view bytes, std::uint64_t offset) {
  PickleValue value;
  value.kind = PickleKind::bytes;
  value.first = pickle_.blobs.size();
  pickle_.blobs.push_back({.bytes = bytes, .offset = offset, .size = bytes.size()});
  return add(value);
}

std::uint32_t PickleMachine::add_container(PickleKind kind, std::span<const std::uint32_t> items) {
  PickleValue value;
  value.kind = kind;
  value.unhashable = kind == PickleKind::list || kind == PickleKind::dict || kind == PickleKind::set;
  if (kind == PickleKind::tuple)
    // A tuple is hashable if its items are; a tuple cannot change later, so this holds for good.
    for (const std::uint32_t item : items) value.unhashable |= pickle_[item].unhashable;
  // The container exists before its items are copied, because it can be one of them through the memo.
  const std::uint32_t index = add(value);
  append(index, items);
  return index;
}

std::uint32_t PickleMachine::add_global(PickleGlobal global) {
  const PickleGlobal renamed = python3_name(global);
  // A state dict has one name (of _rebuild_tensor_v2) for each of its tensors, so names are stored once.
  const auto [known, is_new] =
      globals_.try_emplace({renamed.module, renamed.name}, static_cast<std::uint32_t>(pickle_.globals.size()));
  if (is_new) {
    globals_bytes_.add(global_node_bytes);
    pickle_.globals.push_back(renamed);
  }
  PickleValue value;
  value.kind = PickleKind::global;
  value.count = known->second;
  return add(value);
}

std::uint32_t PickleMachine::add_call(std::uint32_t callable, std::uint32_t arguments, std::uint32_t items) {
  PickleValue value;
  value.kind = PickleKind::call;
  value.count = offset();
  value.first = pickle_.items.size();
  // The order of CallPart. State and items are set by later opcodes, or stay absent.
  for (const std::uint32_t part : {callable, arguments, Pickle::absent, items}) pickle_.items.push_back(part);
  return add(value);
}

/// Appends to a container. Its items are contiguous, with room for bit_ceil(items), so growing moves each item O(1)
/// times.
void PickleMachine::append(std::uint32_t container, std::span<const std::uint32_t> added) {
  if (added.empty()) return;
  pickle_.unpack(container, limits_);
  PickleValue& value = pickle_.values[container];
  core::Table<std::uint32_t>& pool = pickle_.items;
  const std::size_t width = value.kind == PickleKind::dict ? 2 : 1;
  const std::size_t had = value.count * width;
  const std::size_t has = had + added.size();
  // These never grow, so they take no room ahead.
  if (value.kind == PickleKind::tuple || value.kind == PickleKind::frozen_set) {
    value.first = pool.size();
    pool.insert(pool.end(), added.begin(), added.end());
  } else {
    // The room follows from the count and is not stored. Old rooms are not reused; rooms double, so
    // all old ones together are smaller than the new one.
    if (had == 0 || has > std::bit_ceil(had)) {
      const std::size_t first = pool.size();
      pool.resize(first + std::bit_ceil(has));
      std::copy_n(pool.begin() + static_cast<std::ptrdiff_t>(value.first), had,
                  pool.begin() + static_cast<std::ptrdiff_t>(first));
      value.first = first;
    }
    std::copy(added.begin(), added.end(), pool.begin() + static_cast<std::ptrdiff_t>(value.first + had));
  }
  value.count = static_cast<std::uint32_t>(has / width);
}

/// Returns the container of `kind` that an opcode fills: the target itself, or the items of an object that a call made
/// (a subclass of list or dict).
std::uint32_t PickleMachine::target_for(std::uint32_t target, PickleKind kind) {
  const PickleValue& value = pickle_[target];
  const auto is_kind = [&](std::uint32_t container) { return pickle_.container(container) == kind; };
  if (is_kind(target)) return target;
  if (value.kind != PickleKind::call || kind == PickleKind::set)
    wrong_kind("adding items", fmt::format("a {}", name(kind)), target);
  // The index and not a reference: add_container() below can move the table.
  const std::size_t slot = static_cast<std::size_t>(value.first) + call_items;
  if (pickle_.items[slot] == Pickle::absent) {
    const std::uint32_t items = add_container(kind, {});
    pickle_.items[slot] = items;
  }
  if (!is_kind(pickle_.items[slot])) corrupt("an object is given items both as a list and as a dict");
  return pickle_.items[slot];
}

void PickleMachine::extend(std::uint32_t target, PickleKind kind, std::span<const std::uint32_t> items) {
  if (kind == PickleKind::dict && items.size() % 2 != 0) corrupt("SETITEMS: expected keys and values in pairs");
  if (kind != PickleKind::list) require_keys(items, kind == PickleKind::dict ? 2 : 1);
  append(target_for(target, kind), items);
}

/// Makes values of a tuple of numbers whose items are looked at: the arguments of a call, or an id.
void PickleMachine::unpack_tuple(std::uint32_t value) {
  if (pickle_.container(value) == PickleKind::tuple) pickle_.unpack(value, limits_);
}

void PickleMachine::require_keys(std::span<const std::uint32_t> items, std::size_t step) const {
  for (std::size_t i = 0; i < items.size(); i += step)
    if (pickle_[items[i]].unhashable) wrong_kind("a key", "a hashable value", items[i]);
}

// ---- stack and memo

std::span<const std::uint32_t> PickleMachine::above_mark() const {
  if (marks_.empty()) corrupt("no MARK on the stack");
  return std::span(stack_).subspan(marks_.back());
}

void PickleMachine::drop_mark() {
  if (marks_.empty()) corrupt("no MARK on the stack");
  // Drops the mark's items and the mark.
  stack_.resize(marks_.back());
  marks_.pop_back();
}

void PickleMachine::replace_marked(std::uint32_t value) {
  drop_mark();
  push(value);
}

void PickleMachine::memo_put(std::uint64_t index) {
  const std::uint32_t value = top();
  if (index < memo_.size() + memo_slack && index < limits_.pickle_memo) {
    // PUT has any index, in any order; slots between are absent.
    if (index >= memo_.size()) memo_.resize(static_cast<std::size_t>(index) + 1, Pickle::absent);
    memo_entries_ += memo_[index] == Pickle::absent;
    memo_[index] = value;
  } else {
    // Charged before the node is allocated.
    if (!far_memo_.contains(index)) far_memo_bytes_.add(far_memo_node_bytes), ++memo_entries_;
    far_memo_.insert_or_assign(index, value);
  }
  if (memo_entries_ > limits_.pickle_memo)
    core::require_limit(memo_entries_, limits_.pickle_memo, fmt::format("memo of {}", what_), "pickle_memo",
                        opcode_at_);
}

void PickleMachine::memo_get(std::uint64_t index) {
  if (index < memo_.size() && memo_[index] != Pickle::absent) return push(memo_[index]);
  const auto far = far_memo_.find(index);
  if (far == far_memo_.end()) corrupt(fmt::format("nothing in the memo at {}", index));
  push(far->second);
}

std::uint64_t PickleMachine::decimal_index() {
  const auto number = parse_decimal(line());
  // Python refuses a negative index, too.
  if (!number || number->kind != PickleKind::integer || static_cast<std::int64_t>(number->bits) < 0)
    corrupt("expected the number of a memo entry");
  return number->bits;
}

std::span<const std::uint32_t> Pickle::children(const PickleValue& value) const noexcept {
  std::size_t count = 0;
  switch (value.kind) {
    case PickleKind::list:
    case PickleKind::tuple:
    case PickleKind::set:
    case PickleKind::frozen_set: count = value.count; break;
    case PickleKind::dict: count = std::size_t{value.count} * 2; break;
    case PickleKind::call: count = call_parts; break;
    default: break;
  }
  // Empty containers have no place in `items`: `first` is meaningless.
  if (count == 0) return {};
  return std::span(items).subspan(static_cast<std::size_t>(value.first), count);
}

const PickleBlob& Pickle::fetch(const PickleValue& value, const Limits& limits) {
  // A value can be used in several places through the memo; its bytes are read once.
  PickleBlob& blob = blobs[value.first];
  if (blob.place == PickleBlob::Place::kept) return blob;
  core::require_limit(core::add_or_throw(arena.size_bytes(), blob.size, "bytes of the pickle"), limits.pickle_bytes,
                      "bytes of the pickle", "pickle_bytes", blob.offset);
  const Bytes read = input->read(blob.offset, blob.size);
  std::string decoded(blob.size, '\0');
  std::memcpy(decoded.data(), read.data(), blob.size);
  if (blob.place == PickleBlob::Place::latin1) {
    // Each character becomes one byte, so the size of the text suffices.
    const Latin1Progress done = decode_latin1(read.span(), std::as_writable_bytes(std::span(decoded)));
    if (done.read < blob.size)
      throw Error(ErrorCode::corrupt, "expected text that spells bytes, found a character that is not a byte",
                  {.offset = blob.offset + done.read});
    decoded.resize(done.written);
    blob.offset = PickleBlob::decoded;
  }
  blob.bytes = arena.store(decoded);
  blob.size = blob.bytes.size();
  blob.place = PickleBlob::Place::kept;
  return blob;
}

std::string_view Pickle::text(std::uint32_t value) const noexcept {
  const PickleValue& v = values[value];
  return v.kind == PickleKind::text ? std::string_view(v.text, v.count) : std::string_view();
}

std::string_view name(PickleKind kind) noexcept {
  static constexpr std::array<std::string_view, 19> names{
      "null", "boolean",   "integer", "integer", "integer",           "real", "text", "bytes", "list", "tuple", "dict",
      "set",  "frozenset", "global",  "object",  "persistent object", "text", "list", "tensor"};
  return names[static_cast<std::size_t>(kind)];
}

}  // namespace heft::format
