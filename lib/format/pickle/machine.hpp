// format/pickle/machine.hpp: the stack machine behind read_pickle(). Private to opcodes.cpp (opcodes),
// pickle/machine.cpp (values, stack, memo) and pickle/numbers.cpp (lists of numbers).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "core/cursor.hpp"
#include "core/endian.hpp"
#include "format/pickle/pickle.hpp"
#include "format/pickle/protocol0.hpp"
#include "heft/error.hpp"
#include "heft/limits.hpp"

namespace heft::format {

/// The stack machine. Each opcode is one small function in `table`.
class PickleMachine {
 public:
  PickleMachine(core::Cursor& cursor, const Limits& limits, std::string_view what, const core::Input* left_in)
      : cursor_(cursor), limits_(limits), what_(what), left_in_(left_in), pickle_(cursor.budget()) {
    add_constants();
  }

  Pickle run();

 private:
  using Operation = void (PickleMachine::*)();
  static const std::array<Operation, 256> table;
  static constexpr std::array<Operation, 256> make_table();

  // Errors and bounds.
  [[noreturn]] void fail(ErrorCode code, std::string_view finding) const;
  [[noreturn]] void corrupt(std::string_view finding) const { fail(ErrorCode::corrupt, finding); }
  [[noreturn]] void wrong_kind(std::string_view operation, std::string_view expected, std::uint32_t found) const;
  void refuse_joblib(const PickleValue& call) const;
  void require_bytes(std::uint64_t size) const;
  void stack_is_full(std::size_t size) const;
  std::string_view take(std::uint64_t size) {
    if (size > 8) require_bytes(size);  // run() has checked shorter operands together with the opcode
    return cursor_.text(size, what_);
  }
  std::string_view line();
  template <class T>
  T little() {
    return core::load_le<T>(reinterpret_cast<const std::byte*>(take(sizeof(T)).data()));
  }
  std::uint32_t offset() const noexcept {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(opcode_at_ - pickle_.begin, UINT32_MAX));
  }

  // Values.
  void add_constants();
  std::uint32_t add(PickleValue value);
  std::uint32_t add_number(const PickleNumber& number, std::string_view bytes);
  std::uint32_t add_integer(std::int64_t number);
  std::uint32_t add_text(std::string_view text);
  std::uint32_t add_text_or_bytes(std::string_view text);
  std::uint32_t add_bytes(std::string_view bytes, std::uint64_t offset);
  std::uint32_t add_container(PickleKind kind, std::span<const std::uint32_t> added);
  std::uint32_t add_global(PickleGlobal global);
  std::uint32_t add_call(std::uint32_t callable, std::uint32_t arguments, std::uint32_t items = Pickle::absent);
  void append(std::uint32_t container, std::span<const std::uint32_t> added);
  void extend(std::uint32_t target, PickleKind kind, std::span<const std::uint32_t> added);
  std::uint32_t items_of(std::uint32_t target) const;
  bool has_numbers(std::uint32_t target) const;
  bool takes_numbers(std::uint32_t target, PickleKind kind) const;
  bool below_mark_takes(PickleKind kind) const;
  bool numbers_follow();
  void add_numbers(std::uint32_t target, PickleKind kind, const SegmentedNumbers& more, bool is_open);
  bool append_number(std::uint32_t target, std::uint32_t item);
  bool step_batch();
  void step_numbers();
  std::uint32_t target_for(std::uint32_t target, PickleKind kind);
  void unpack_tuple(std::uint32_t value);
  void require_keys(std::span<const std::uint32_t> items, std::size_t step) const;

  // The stack.
  std::size_t fence() const noexcept { return marks_.empty() ? 0 : marks_.back(); }
  void push(std::uint32_t value) {
    if (stack_.size() >= limits_.pickle_stack) [[unlikely]]
      stack_is_full(stack_.size());
    stack_.push_back(value);
  }
  std::uint32_t pop() {
    const std::uint32_t value = top();
    stack_.pop_back();
    return value;
  }
  std::uint32_t top() const {
    if (stack_.size() <= fence()) [[unlikely]]
      corrupt("the stack is empty");
    return stack_.back();
  }
  std::span<const std::uint32_t> above_mark() const;
  void drop_mark();
  void replace_marked(std::uint32_t value);

  // The memo.
  void memo_put(std::uint64_t index);
  void memo_get(std::uint64_t index);
  std::uint64_t decimal_index();

  // Opcodes.
  void op_proto();
  void op_frame();
  void op_stop() { stopped_ = true; }
  void op_mark();
  void op_pop();
  void op_pop_mark() { drop_mark(); }
  void op_dup() { push(top()); }
  void op_none() { push(Pickle::null); }
  void op_true() { push(Pickle::yes); }
  void op_false() { push(Pickle::no); }
  void op_int32() { push(add_integer(little<std::int32_t>())); }
  void op_int8() { push(Pickle::small_integer + little<std::uint8_t>()); }
  void op_int16() { push(add_integer(little<std::uint16_t>())); }
  void op_long1() { push_long(little<std::uint8_t>()); }
  void op_long4();
  void op_int_line() { push_decimal("INT", true); }
  void op_long_line() { push_decimal("LONG", false); }
  void op_float_line();
  void op_float();
  void op_text8() { push(add_text(take(little<std::uint8_t>()))); }
  void op_text32() { push_text(little<std::uint32_t>()); }
  void op_text64() { push_text(little<std::uint64_t>()); }
  void op_string8() { push(add_text_or_bytes(take(little<std::uint8_t>()))); }
  void op_string32();
  void op_string_line();
  void op_unicode_line();
  void op_bytes8() { push_bytes(little<std::uint8_t>()); }
  void op_bytes32() { push_bytes(little<std::uint32_t>()); }
  void op_bytes64() { push_bytes(little<std::uint64_t>()); }
  void op_byte_array();
  void op_empty_list() { push(add_container(PickleKind::list, {})); }
  void op_empty_tuple() { push(Pickle::empty_tuple); }
  void op_empty_dict() { push(add_container(PickleKind::dict, {})); }
  void op_empty_set() { push(add_container(PickleKind::set, {})); }
  void op_list() { replace_marked(add_container(PickleKind::list, above_mark())); }
  void op_tuple() { replace_marked(add_container(PickleKind::tuple, above_mark())); }
  void op_tuple1() { push_tuple(1); }
  void op_tuple2() { push_tuple(2); }
  void op_tuple3() { push_tuple(3); }
  void op_dict();
  void op_frozen_set();
  void op_append();
  void op_appends() { extend_marked(PickleKind::list); }
  void op_set_item();
  void op_set_items() { extend_marked(PickleKind::dict); }
  void op_add_items() { extend_marked(PickleKind::set); }
  void op_global();
  void op_stack_global();
  void op_reduce();
  void op_new_object() { op_reduce(); }
  void op_new_object_ex();
  void op_instance();
  void op_object();
  void op_build();
  void op_persistent();
  void op_put8() { memo_put(little<std::uint8_t>()); }
  void op_put32() { memo_put(little<std::uint32_t>()); }
  void op_put_line() { memo_put(decimal_index()); }
  void op_memoize() { memo_put(memo_entries_); }
  void op_get8() { memo_get(little<std::uint8_t>()); }
  void op_get32() { memo_get(little<std::uint32_t>()); }
  void op_get_line() { memo_get(decimal_index()); }
  void op_refused();
  void op_unknown();

  void push_long(std::uint64_t size);
  void push_decimal(std::string_view operation, bool booleans);
  void push_text(std::uint64_t size);
  void push_bytes(std::uint64_t size);
  bool is_encoder(std::uint32_t value) const;
  void push_left(PickleKind kind, PickleBlob::Place place, std::uint64_t size);
  void push_tuple(std::size_t size);
  void extend_marked(PickleKind kind);

  core::Cursor& cursor_;
  const Limits& limits_;
  std::string_view what_;
  const core::Input* left_in_;
  Pickle pickle_;
  core::Table<std::uint32_t> stack_{pickle_.budget};
  core::Table<std::size_t> marks_{pickle_.budget};
  core::Table<std::uint32_t> memo_{pickle_.budget};
  std::map<std::uint64_t, std::uint32_t> far_memo_;  // a tree, because chosen indices cannot slow it down
  core::MetadataCharge far_memo_bytes_{pickle_.budget};
  std::uint64_t memo_entries_ = 0;
  std::map<std::pair<std::string_view, std::string_view>, std::uint32_t> globals_;
  core::MetadataCharge globals_bytes_{pickle_.budget};
  std::uint64_t opcode_at_ = 0;
  std::uint64_t last_at_ = 0;  // offset of the opcode before that one
  std::uint8_t opcode_ = 0;
  bool stopped_ = false;
};

}  // namespace heft::format
