// format/pickle/pickle.hpp: the values of a Python pickle, and their interpreter, which executes none of the calls.
//
// A pickle is a program for a stack machine that builds objects and calls functions by name. The interpreter runs the
// program to its STOP, but a call only makes a value with the name of the function and its arguments: nothing is looked
// up, imported or called. Values are in one vector and refer to each other by index: sharing costs nothing, cycles are
// legal, and destruction does not recurse.
//
// Protocols 0 to 5. Refused: EXT1/2/4 and out-of-band buffers, which refer to things outside the file, and PERSID,
// which no writer uses.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "core/cursor.hpp"
#include "core/input.hpp"
#include "core/table.hpp"
#include "core/text.hpp"
#include "format/number_segments.hpp"
#include "heft/bytes.hpp"
#include "heft/limits.hpp"

namespace heft::format {

enum class PickleKind : std::uint8_t {
  null,
  boolean,
  integer,           ///< Fits 64 bits signed.
  unsigned_integer,  ///< Over INT64_MAX, fits 64 bits.
  big_integer,       ///< Neither; little-endian two's complement bytes.
  real,
  text,   ///< UTF-8.
  bytes,  ///< Also a Python 2 str, or a str with lone surrogates, that is not UTF-8.
  list,
  tuple,
  dict,
  set,
  frozen_set,
  global,      ///< A name: "module.name".
  call,        ///< REDUCE, NEWOBJ, INST...: an object made by a call.
  persistent,  ///< BINPERSID: an object outside the pickle, by its id.
  far_text,    ///< Text that spells bytes, left in the file: `first` is an index in blobs. For _codecs.encode().
  numbers,     ///< A list, tuple or set of numbers that were stepped over: `first` is an index in number_lists.
  tensor,      ///< Made from calls by torch/resolver.cpp; never by read_pickle().
};

/// One value; 16 bytes. Containers hold the indices of their items in Pickle::items.
struct PickleValue {
  PickleKind kind = PickleKind::null;
  static constexpr std::uint8_t byte_array = 1;  ///< The variant of `bytes` that are a bytearray.
  std::uint8_t variant = 0;  ///< The finer kind. read_pickle() sets 0 or `byte_array`; others are a family's own.
  bool unhashable = false;   ///< list, dict, set, bytearray, and tuples that hold one: they cannot be keys.
  PickleKind container = PickleKind::list;  ///< numbers: list, tuple, set or frozen_set.
  std::uint32_t count = 0;  ///< text, big_integer: bytes. Containers, numbers: items; dict: pairs. global: index in
                            ///< globals. call, persistent: opcode's offset.
  union {
    std::int64_t integer = 0;
    std::uint64_t unsigned_integer;
    double real;
    const char* text;     ///< text, big_integer
    std::uint64_t first;  ///< Containers: index in Pickle::items. call: that of its CallParts. bytes: index in blobs.
                          ///< persistent: the value of the id.
  };
};

/// The parts of a call, from PickleValue::first on.
enum CallPart : std::uint32_t { call_callable, call_arguments, call_state, call_items, call_parts };

/// A global's name, in Python 3 spelling.
struct PickleGlobal {
  std::string_view module;
  std::string_view name;
};

/// Bytes and their place.
struct PickleBlob {
  static constexpr std::uint64_t decoded = ~std::uint64_t{0};
  enum class Place : std::uint8_t {
    kept,    ///< `bytes`.
    left,    ///< In the Input, `size` bytes at `offset`.
    latin1,  ///< In the Input, spelled as `size` bytes of text (format/pickle/latin1.hpp).
  };
  std::string_view bytes = {};
  std::uint64_t offset = decoded;  ///< Offset in the Input; `decoded`: the file has them in another form.
  std::uint64_t size = 0;
  Place place = Place::kept;
};

/// The places of the numbers of one container.
struct PickleNumbers {
  SegmentedNumbers numbers;
  bool is_open = true;  ///< Numbers are still added to it.
};

/// All values of one pickle.
struct Pickle {
  static constexpr std::uint32_t absent = 0xFFFFFFFF;
  /// Values that every pickle starts with, so that the most frequent ones are shared.
  static constexpr std::uint32_t null = 0, yes = 1, no = 2, empty_tuple = 3, small_integer = 4;

  /// Charges its memory to `of_input`, which can be null.
  explicit Pickle(std::shared_ptr<core::MetadataBudget> of_input = {}) noexcept : budget(std::move(of_input)) {}

  std::shared_ptr<core::MetadataBudget> budget;
  core::Table<PickleValue> values{budget};
  core::Table<std::uint32_t> items{budget};
  core::Table<PickleGlobal> globals{budget};  ///< Each name once.
  core::Table<PickleBlob> blobs{budget};
  /// Shared, because a Catalog keeps them. Null if there are none.
  std::shared_ptr<core::Table<PickleNumbers>> number_lists;
  std::uint32_t root = null;
  std::uint32_t persistent_count = 0;  ///< Values that were made persistent objects.
  const core::Input* input = nullptr;  ///< Input of `left` blobs and of numbers; null if there are none.
  std::uint64_t left_bytes = 0;        ///< Bytes of the pickle in `left` and `latin1` blobs and in number_lists.
  std::uint64_t unpacked = 0;          ///< Numbers that unpack() made values of.
  std::uint64_t begin = 0;             ///< Offset of the pickle in the Input.
  std::uint64_t end = 0;               ///< Offset of the byte after STOP.

  core::Arena arena{budget};  ///< Decoded strings.
  std::vector<Bytes> kept;    ///< Memory of the other strings.

  [[nodiscard]] const PickleValue& operator[](std::uint32_t value) const noexcept { return values[value]; }
  [[nodiscard]] PickleKind kind(std::uint32_t value) const noexcept { return values[value].kind; }
  /// Returns the kind, which of numbers is that of their container.
  [[nodiscard]] PickleKind container(std::uint32_t value) const noexcept {
    return kind(value) == PickleKind::numbers ? values[value].container : kind(value);
  }
  /// Returns the items of a list, tuple, set or frozen set; alternating keys and values of a dict; the parts of a call.
  [[nodiscard]] std::span<const std::uint32_t> children(const PickleValue& value) const noexcept;
  [[nodiscard]] std::span<const std::uint32_t> children(std::uint32_t value) const noexcept {
    return children(values[value]);
  }
  /// Returns a part of a call; `absent` if it has none.
  [[nodiscard]] std::uint32_t part(const PickleValue& call, CallPart which) const noexcept {
    return items[call.first + which];
  }
  /// Returns the text of a text value; empty for others.
  [[nodiscard]] std::string_view text(std::uint32_t value) const noexcept;
  /// Returns the bytes of a bytes value.
  [[nodiscard]] const PickleBlob& blob(const PickleValue& value) const noexcept { return blobs[value.first]; }
  /// Returns the same for a bytes or far_text value; reads, decodes and keeps it if it was left. Requires that the
  /// Input lives. Throws Error{corrupt} for text that does not spell bytes, Error{limit_exceeded} for
  /// Limits::pickle_bytes.
  const PickleBlob& fetch(const PickleValue& value, const Limits& limits);
  /// Returns the numbers of a `numbers` value. They live as long as the pointer.
  [[nodiscard]] std::shared_ptr<const SegmentedNumbers> numbers(const PickleValue& value) const noexcept {
    return {number_lists, &(*number_lists)[static_cast<std::size_t>(value.first)].numbers};
  }
  /// Makes a `numbers` value a container of values; does nothing to others. For readers that need the numbers while the file
  /// is opened. Requires that the Input lives. Throws Error{limit_exceeded} for Limits::pickle_operations, which counts
  /// each number.
  void unpack(std::uint32_t value, const Limits& limits);
  /// Returns the name of a global value.
  [[nodiscard]] const PickleGlobal& global(const PickleValue& value) const noexcept { return globals[value.count]; }
};

/// Interprets the pickle at the cursor up to its STOP and moves the cursor behind it.
///
/// With `left_in`, the cursor's Input, long byte strings are skipped: they are not read, and Limits::pickle_bytes does
/// not count them. Long lists, tuples and sets of numbers are stepped over: they are read and not kept, and neither
/// pickle_bytes nor pickle_operations counts them.
///
/// `what` names the pickle in errors. Throws Error{corrupt} with the offset of the opcode for an operand of a wrong
/// kind and for a truncated pickle; Error{unsupported} for opcodes that heft refuses; Error{limit_exceeded} for
/// Limits::pickle_*.
Pickle read_pickle(core::Cursor& cursor, const Limits& limits, std::string_view what,
                   const core::Input* left_in = nullptr);

/// Walks from `root` over its children without recursion. Calls `enter` with each value that is reached, once for each
/// reference; where it returns true, the value's children are walked, and then `leave` is called with the value. The
/// keys of a dict are children too.
template <class Enter, class Leave>
void walk_values(const Pickle& pickle, std::uint32_t root, const Enter& enter, const Leave& leave) {
  struct Frame {
    std::uint32_t value;
    std::uint32_t next = 0;
  };
  std::vector<Frame> stack;
  if (enter(root)) stack.push_back({root});
  while (!stack.empty()) {
    Frame& frame = stack.back();
    const auto children = pickle.children(frame.value);
    if (frame.next == children.size()) {
      leave(frame.value);
      stack.pop_back();
      continue;
    }
    const std::uint32_t child = children[frame.next++];
    if (child != Pickle::absent && enter(child)) stack.push_back({child});
  }
}

/// Returns the kind as a word: "list", "integer".
std::string_view name(PickleKind kind) noexcept;

}  // namespace heft::format
