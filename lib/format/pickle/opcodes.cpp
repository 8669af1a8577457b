#include "format/pickle/pickle.hpp"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <string>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/pickle/machine.hpp"

namespace heft::format {
namespace {

constexpr std::uint8_t newest_protocol = 5;
constexpr std::uint64_t min_left_bytes = 4096;  // reading shorter ones costs less than a later read

}  // namespace

void PickleMachine::op_proto() {
  const auto protocol = little<std::uint8_t>();
  if (protocol > newest_protocol)
    fail(ErrorCode::unsupported, fmt::format("pickle protocol {}, the newest known is {}", protocol, newest_protocol));
}

void PickleMachine::op_frame() {
  const auto size = little<std::uint64_t>();
  // Frames only let Python read ahead. The size is checked, because Python refuses a frame that is cut, and then
  // ignored.
  if (size > cursor_.remaining())
    corrupt(fmt::format("FRAME: expected {} bytes, {} remain", size, cursor_.remaining()));
}

void PickleMachine::op_mark() {
  if (marks_.size() >= limits_.pickle_stack)
    core::require_limit(marks_.size() + 1, limits_.pickle_stack, fmt::format("marks of {}", what_), "pickle_stack",
                        opcode_at_);
  // A mark is a position in the stack: items above it belong to the next opcode that takes a mark.
  marks_.push_back(stack_.size());
  if (left_in_ != nullptr) step_numbers();
}

void PickleMachine::op_pop() {
  // The fence is the last mark: an opcode must not take items below it.
  if (stack_.size() > fence())
    stack_.pop_back();
  else if (!marks_.empty())
    marks_.pop_back();  // as Python does
  else
    corrupt("the stack is empty");
}

void PickleMachine::op_long4() {
  const auto size = little<std::int32_t>();
  if (size < 0) corrupt("LONG4: negative size");
  push_long(static_cast<std::uint64_t>(size));
}

void PickleMachine::push_long(std::uint64_t size) {
  // A big integer keeps pointing at these bytes, which are in the cursor's chunks.
  const std::string_view bytes = take(size);
  push(add_number(parse_long(bytes), bytes));
}

void PickleMachine::push_decimal(std::string_view operation, bool booleans) {
  const std::optional<PickleNumber> number = parse_decimal(line());
  if (!number || (number->kind == PickleKind::boolean && !booleans))
    corrupt(fmt::format("{}: expected a decimal number", operation));
  // A decimal has no bytes in the file that could be pointed at, so they are stored.
  push(add_number(*number, pickle_.arena.store(number->big)));
}

void PickleMachine::op_float_line() {
  const std::optional<double> number = parse_real(line());
  if (!number) corrupt("FLOAT: expected a number");
  PickleValue value;
  value.kind = PickleKind::real;
  value.real = *number;
  push(add(value));
}

void PickleMachine::op_float() {
  PickleValue value;
  value.kind = PickleKind::real;
  // BINFLOAT is big-endian, unlike all other opcodes.
  value.real = core::load_be<double>(reinterpret_cast<const std::byte*>(take(8).data()));
  push(add(value));
}

void PickleMachine::op_string32() {
  const auto size = little<std::int32_t>();
  if (size < 0) corrupt("BINSTRING: negative size");
  // A str of Python 2 is bytes; texts of ASCII or UTF-8 are taken for text, as names of tensors are.
  push(add_text_or_bytes(take(static_cast<std::uint64_t>(size))));
}

void PickleMachine::op_string_line() {
  const std::optional<std::string> text = parse_string_literal(line());
  if (!text) corrupt("STRING: expected a string in quotes");
  const std::string_view stored = pickle_.arena.store(*text);
  push(core::is_utf8(stored) ? add_text(stored) : add_bytes(stored, PickleBlob::decoded));
}

void PickleMachine::op_unicode_line() {
  const std::optional<std::string> text = parse_raw_unicode(line());
  if (!text) corrupt("UNICODE: malformed escape");
  const std::string_view stored = pickle_.arena.store(*text);
  push(core::is_utf8(stored) ? add_text(stored) : add_bytes(stored, PickleBlob::decoded));
}

/// Returns true for _codecs.encode, whose argument is a text that spells bytes.
bool PickleMachine::is_encoder(std::uint32_t value) const {
  if (pickle_.kind(value) != PickleKind::global) return false;
  const PickleGlobal& global = pickle_.global(pickle_[value]);
  return global.module == "_codecs" && global.name == "encode";
}

void PickleMachine::push_left(PickleKind kind, PickleBlob::Place place, std::uint64_t size) {
  PickleValue value;
  value.kind = kind;
  value.first = pickle_.blobs.size();
  // Only the place is recorded: weights that are pickled as bytes, of NumPy for example, are not read at open.
  pickle_.blobs.push_back({.offset = cursor_.offset(), .size = size, .place = place});
  cursor_.skip(size, what_);
  pickle_.left_bytes += size;
  push(add(value));
}

void PickleMachine::push_text(std::uint64_t size) {
  // The function precedes its arguments; older protocols have a MARK between them.
  if (left_in_ != nullptr && size >= min_left_bytes && !stack_.empty() && is_encoder(stack_.back()))
    return push_left(PickleKind::far_text, PickleBlob::Place::latin1, size);
  push(add_text(take(size)));
}

void PickleMachine::push_bytes(std::uint64_t size) {
  if (left_in_ != nullptr && size >= min_left_bytes) return push_left(PickleKind::bytes, PickleBlob::Place::left, size);
  const std::uint64_t at = cursor_.offset();
  push(add_bytes(take(size), at));
}

void PickleMachine::op_byte_array() {
  // BYTEARRAY8 has the operand of BINBYTES8; the value differs in being mutable.
  op_bytes64();
  PickleValue& value = pickle_.values[top()];
  value.variant = PickleValue::byte_array;
  value.unhashable = true;
}

void PickleMachine::push_tuple(std::size_t size) {
  // Not by pop(): the items are needed in the order of the stack.
  if (stack_.size() - fence() < size) corrupt("the stack is empty");
  const std::uint32_t tuple = add_container(PickleKind::tuple, std::span(stack_).last(size));
  stack_.resize(stack_.size() - size);
  push(tuple);
}

void PickleMachine::op_dict() {
  const std::uint32_t dict = add_container(PickleKind::dict, {});
  // An empty dict that is extended, so that DICT and SETITEMS have the same checks.
  extend(dict, PickleKind::dict, above_mark());
  replace_marked(dict);
}

void PickleMachine::op_frozen_set() {
  require_keys(above_mark(), 1);
  replace_marked(add_container(PickleKind::frozen_set, above_mark()));
}

void PickleMachine::op_append() {
  const std::uint32_t item = pop();
  if (!append_number(top(), item)) extend(top(), PickleKind::list, {&item, 1});
}

void PickleMachine::op_set_item() {
  const std::uint32_t value = pop();
  // The value is on top, its key below.
  const std::array<std::uint32_t, 2> pair{pop(), value};
  extend(top(), PickleKind::dict, pair);
}

void PickleMachine::extend_marked(PickleKind kind) {
  const std::span<const std::uint32_t> items = above_mark();
  const std::size_t mark = marks_.back();
  const std::size_t below = marks_.size() > 1 ? marks_[marks_.size() - 2] : 0;
  // The container lies directly below the mark, and must be above the mark before it.
  if (mark <= below) corrupt("the stack is empty");
  extend(stack_[mark - 1], kind, items);
  drop_mark();
}

void PickleMachine::op_global() {
  const std::string_view module = line();
  const std::string_view name = line();
  // Names appear in messages and as text of records.
  if (!core::is_utf8(module) || !core::is_utf8(name)) corrupt("GLOBAL: a name that is not UTF-8");
  push(add_global({module, name}));
}

void PickleMachine::op_stack_global() {
  const std::uint32_t name = pop();
  const std::uint32_t module = pop();
  if (pickle_.kind(name) != PickleKind::text) wrong_kind("STACK_GLOBAL", "a text", name);
  if (pickle_.kind(module) != PickleKind::text) wrong_kind("STACK_GLOBAL", "a text", module);
  push(add_global({pickle_.text(module), pickle_.text(name)}));
}

void PickleMachine::op_reduce() {
  const std::uint32_t arguments = pop();
  const std::uint32_t callable = pop();
  // No opcode calls anything: the callable and its arguments become a value, and formats decide by the name what it
  // is.
  unpack_tuple(arguments);
  if (pickle_.kind(arguments) != PickleKind::tuple) wrong_kind("calling", "a tuple of arguments", arguments);
  const PickleKind kind = pickle_.kind(callable);
  // The result of a call can be callable too; other values are not.
  if (kind != PickleKind::global && kind != PickleKind::call && kind != PickleKind::persistent)
    wrong_kind("calling", "a global", callable);
  push(add_call(callable, arguments));
}

void PickleMachine::op_new_object_ex() {
  const std::uint32_t keywords = pop();
  if (pickle_.kind(keywords) != PickleKind::dict) wrong_kind("NEWOBJ_EX", "a dict of keyword arguments", keywords);
  const std::uint32_t arguments = top();
  unpack_tuple(arguments);
  if (pickle_.kind(arguments) != PickleKind::tuple) wrong_kind("NEWOBJ_EX", "a tuple of arguments", arguments);
  const std::array<std::uint32_t, 2> both{pop(), keywords};
  const std::uint32_t callable = pop();
  if (pickle_.kind(callable) != PickleKind::global && pickle_.kind(callable) != PickleKind::call)
    wrong_kind("NEWOBJ_EX", "a class", callable);
  // Without keywords the call is that of NEWOBJ; with them the arguments are a pair of tuple and dict.
  push(add_call(callable, pickle_[keywords].count == 0 ? arguments : add_container(PickleKind::tuple, both)));
}

void PickleMachine::op_instance() {
  op_global();
  const std::uint32_t callable = pop();
  replace_marked(add_call(callable, add_container(PickleKind::tuple, above_mark())));
}

void PickleMachine::op_object() {
  const std::span<const std::uint32_t> marked = above_mark();
  if (marked.empty()) corrupt("OBJ: expected a class");
  // The items above the mark are the class and then its arguments.
  const std::uint32_t callable = marked.front();
  if (pickle_.kind(callable) != PickleKind::global) wrong_kind("OBJ", "a class", callable);
  replace_marked(add_call(callable, add_container(PickleKind::tuple, marked.subspan(1))));
}

/// Joblib stores an array's bytes behind the BUILD of the object that stands for it, where no opcode covers them.
void PickleMachine::refuse_joblib(const PickleValue& call) const {
  const std::uint32_t callable = pickle_.part(call, call_callable);
  if (pickle_.kind(callable) != PickleKind::global) return;
  const PickleGlobal& global = pickle_.global(pickle_[callable]);
  if (!global.module.starts_with("joblib.numpy_pickle") || !global.name.ends_with("ArrayWrapper")) return;
  throw Error(ErrorCode::unsupported,
              "this is a file of joblib, which heft does not read: load it with joblib and save the arrays as "
              "safetensors or .npz",
              {.offset = opcode_at_});
}

void PickleMachine::op_build() {
  const std::uint32_t state = pop();
  const PickleValue& target = pickle_[top()];
  if (target.kind == PickleKind::call) {
    refuse_joblib(target);
    // A later BUILD replaces the state; Python's pickler writes one for each object.
    pickle_.items[static_cast<std::size_t>(target.first) + call_state] = state;
  } else if (target.kind != PickleKind::global) {
    wrong_kind("BUILD", "an object", top());
  }
}

void PickleMachine::op_persistent() {
  PickleValue value;
  value.kind = PickleKind::persistent;
  value.count = offset();
  // The id, a tuple in PyTorch's files, stays a value; the format resolves it.
  value.first = pop();
  unpack_tuple(static_cast<std::uint32_t>(value.first));
  push(add(value));
  ++pickle_.persistent_count;
}

void PickleMachine::op_refused() {
  fail(ErrorCode::unsupported, fmt::format("opcode {:#04x} refers to what lies outside the file", opcode_));
}

void PickleMachine::op_unknown() { corrupt(fmt::format("unknown opcode {:#04x}", opcode_)); }

constexpr std::array<PickleMachine::Operation, 256> PickleMachine::make_table() {
  std::array<Operation, 256> ops{};
  ops.fill(&PickleMachine::op_unknown);
  const auto set = [&](int opcode, Operation operation) { ops[static_cast<std::size_t>(opcode)] = operation; };
  set(0x80, &PickleMachine::op_proto), set(0x95, &PickleMachine::op_frame), set('.', &PickleMachine::op_stop),
      set('(', &PickleMachine::op_mark);
  set('0', &PickleMachine::op_pop), set('1', &PickleMachine::op_pop_mark), set('2', &PickleMachine::op_dup);
  set('N', &PickleMachine::op_none), set(0x88, &PickleMachine::op_true), set(0x89, &PickleMachine::op_false);
  set('J', &PickleMachine::op_int32), set('K', &PickleMachine::op_int8), set('M', &PickleMachine::op_int16);
  set(0x8a, &PickleMachine::op_long1), set(0x8b, &PickleMachine::op_long4), set('I', &PickleMachine::op_int_line),
      set('L', &PickleMachine::op_long_line);
  set('G', &PickleMachine::op_float), set('F', &PickleMachine::op_float_line);
  set('X', &PickleMachine::op_text32), set(0x8c, &PickleMachine::op_text8), set(0x8d, &PickleMachine::op_text64),
      set('V', &PickleMachine::op_unicode_line);
  set('U', &PickleMachine::op_string8), set('T', &PickleMachine::op_string32), set('S', &PickleMachine::op_string_line);
  set('C', &PickleMachine::op_bytes8), set('B', &PickleMachine::op_bytes32), set(0x8e, &PickleMachine::op_bytes64),
      set(0x96, &PickleMachine::op_byte_array);
  set(']', &PickleMachine::op_empty_list), set('a', &PickleMachine::op_append), set('e', &PickleMachine::op_appends),
      set('l', &PickleMachine::op_list);
  set(')', &PickleMachine::op_empty_tuple), set('t', &PickleMachine::op_tuple), set(0x85, &PickleMachine::op_tuple1),
      set(0x86, &PickleMachine::op_tuple2), set(0x87, &PickleMachine::op_tuple3);
  set('}', &PickleMachine::op_empty_dict), set('s', &PickleMachine::op_set_item),
      set('u', &PickleMachine::op_set_items), set('d', &PickleMachine::op_dict);
  set(0x8f, &PickleMachine::op_empty_set), set(0x90, &PickleMachine::op_add_items),
      set(0x91, &PickleMachine::op_frozen_set);
  set('c', &PickleMachine::op_global), set(0x93, &PickleMachine::op_stack_global), set('R', &PickleMachine::op_reduce),
      set(0x81, &PickleMachine::op_new_object);
  set(0x92, &PickleMachine::op_new_object_ex), set('i', &PickleMachine::op_instance),
      set('o', &PickleMachine::op_object), set('b', &PickleMachine::op_build);
  set('q', &PickleMachine::op_put8), set('r', &PickleMachine::op_put32), set('p', &PickleMachine::op_put_line),
      set(0x94, &PickleMachine::op_memoize);
  set('h', &PickleMachine::op_get8), set('j', &PickleMachine::op_get32), set('g', &PickleMachine::op_get_line),
      set('Q', &PickleMachine::op_persistent);
  // PERSID, EXT1, EXT2, EXT4, NEXT_BUFFER, READONLY_BUFFER.
  for (const int outside : {0x50, 0x82, 0x83, 0x84, 0x97, 0x98}) set(outside, &PickleMachine::op_refused);
  return ops;
}

constinit const std::array<PickleMachine::Operation, 256> PickleMachine::table = PickleMachine::make_table();

Pickle PickleMachine::run() {
  pickle_.begin = cursor_.offset();
  pickle_.input = left_in_;
  for (std::uint64_t operations = 1; !stopped_; ++operations) {
    last_at_ = opcode_at_;
    opcode_at_ = cursor_.offset();
    if (operations > limits_.pickle_operations)
      core::require_limit(operations, limits_.pickle_operations, fmt::format("opcodes of {}", what_),
                          "pickle_operations", opcode_at_);
    // Before each opcode and in take() for long operands. So operands of up to 8 bytes can exceed the limit by their
    // size.
    if (opcode_at_ - pickle_.begin - pickle_.left_bytes >= limits_.pickle_bytes) require_bytes(1);
    opcode_ = cursor_.u8(what_);
    (this->*table[opcode_])();
  }
  // Python ignores what else is on the stack. No writer leaves anything, so a file that does was made by hand.
  if (!marks_.empty()) corrupt("STOP below an open MARK");
  pickle_.root = pop();
  if (!stack_.empty()) corrupt(fmt::format("{} values on the stack besides the result", stack_.size()));
  pickle_.end = cursor_.offset();
  // Texts and bytes point into the cursor's chunks.
  pickle_.kept = cursor_.release();
  return std::move(pickle_);
}

Pickle read_pickle(core::Cursor& cursor, const Limits& limits, std::string_view what, const core::Input* left_in) {
  return PickleMachine(cursor, limits, what, left_in).run();
}

}  // namespace heft::format
