// format/pickle/opcodes.hpp: what a Python pickle says, without doing any of it.
//
// A pickle is a program for a stack machine that builds objects and calls what it names. Here the program runs to its
// STOP, but a call only makes a value that says what would have been called with what; nothing is looked up, imported
// or called. Values lie in one vector and refer to each other by index: sharing costs nothing, cycles are legal, and
// destroying them needs no recursion.
//
// Protocols 0 to 5. Refused: EXT1/2/4 and out-of-band buffers (they refer to things outside the file) and PERSID, which
// no writer uses.
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
#include "heft/bytes.hpp"
#include "heft/limits.hpp"

namespace heft::format {

enum class PickleKind : std::uint8_t {
  null,
  boolean,
  integer,      ///< Fits 64 bits signed.
  unsigned_integer,  ///< Over INT64_MAX, fits 64 bits.
  big_integer,  ///< Neither; little-endian two's complement bytes.
  real,
  text,   ///< UTF-8.
  bytes,  ///< Also a Python 2 str, or a str with lone surrogates, that is no UTF-8.
  list,
  tuple,
  dict,
  set,
  frozen_set,
  global,      ///< A name: "module.name".
  call,        ///< REDUCE, NEWOBJ, INST...: an object made by calling something.
  persistent,  ///< BINPERSID: an object that lies outside the pickle, by its id.
  far_text,  ///< Text that spells bytes, left where it lies: `first` is an index in blobs. For _codecs.encode().
  tensor,  ///< Made from calls by format/torch_objects; never by read_pickle().
};

/// One value; 16 bytes. Containers hold the indices of their items in Pickle::items.
struct PickleValue {
  PickleKind kind = PickleKind::null;
  std::uint8_t variant = 0;  ///< What is known about it beyond its kind, a NodeVariant: from read_pickle() `plain` or `byte_array`.
  bool unhashable = false;   ///< list, dict, set, bytearray, and tuples that hold one: no keys.
  std::uint32_t count = 0;   ///< text, big_integer: bytes. Containers: items; dict: pairs. global: index in globals.
                             ///< call, persistent: opcode's offset.
  union {
    std::int64_t integer = 0;
    std::uint64_t unsigned_integer;
    double real;
    const char* text;     ///< text, big_integer
    std::uint64_t first;  ///< Containers: index in Pickle::items. call: of its CallPart's. bytes: index in blobs.
                          ///< persistent: the id's value.
  };
};

/// Where a call keeps its parts, from PickleValue::first on.
enum CallPart : std::uint32_t { call_callable, call_arguments, call_state, call_items, call_parts };

/// A global's name, in Python 3 spelling.
struct PickleGlobal {
  std::string_view module;
  std::string_view name;
};

/// Bytes and where they lie.
struct PickleBlob {
  static constexpr std::uint64_t decoded = ~std::uint64_t{0};
  enum class Place : std::uint8_t {
    kept,    ///< `bytes`.
    left,    ///< In the Input, `size` bytes at `offset`.
    latin1,  ///< There as well, spelled as `size` bytes of text (format/pickle/latin1.hpp).
  };
  std::string_view bytes = {};
  std::uint64_t offset = decoded;  ///< In the Input; `decoded`: the file spells them otherwise.
  std::uint64_t size = 0;
  Place place = Place::kept;
};

/// All values of one pickle.
struct Pickle {
  static constexpr std::uint32_t absent = 0xFFFFFFFF;
  /// Values that every pickle begins with, so that the commonest ones take no room.
  static constexpr std::uint32_t null = 0, yes = 1, no = 2, empty_tuple = 3, small_integer = 4;

  /// What it holds is counted in `of_input`, which may be null.
  explicit Pickle(std::shared_ptr<core::MetadataBudget> of_input = {}) noexcept : budget(std::move(of_input)) {}

  std::shared_ptr<core::MetadataBudget> budget;
  core::Table<PickleValue> values{budget};
  core::Table<std::uint32_t> items{budget};
  core::Table<PickleGlobal> globals{budget};  ///< Each name once.
  core::Table<PickleBlob> blobs{budget};
  std::uint32_t root = null;
  std::uint32_t persistent_count = 0;  ///< Values that were made persistent objects.
  const core::Input* input = nullptr;  ///< Where `left` blobs lie; null when there are none.
  std::uint64_t left_bytes = 0;        ///< Of the pickle, in `left` and `latin1` blobs.
  std::uint64_t begin = 0;  ///< Offset of the pickle in the Input.
  std::uint64_t end = 0;    ///< Offset of the byte after STOP.

  core::Arena arena{budget};  ///< Strings that had to be decoded.
  std::vector<Bytes> kept;    ///< What the other strings point into.

  [[nodiscard]] const PickleValue& operator[](std::uint32_t value) const noexcept { return values[value]; }
  [[nodiscard]] PickleKind kind(std::uint32_t value) const noexcept { return values[value].kind; }
  /// Items of a list, tuple, set or frozen set; keys and values in turn of a dict; the four parts of a call.
  [[nodiscard]] std::span<const std::uint32_t> children(const PickleValue& value) const noexcept;
  [[nodiscard]] std::span<const std::uint32_t> children(std::uint32_t value) const noexcept {
    return children(values[value]);
  }
  /// A part of a call; `absent` when it has none.
  [[nodiscard]] std::uint32_t part(const PickleValue& call, CallPart which) const noexcept {
    return items[call.first + which];
  }
  /// Text of a text value; empty for others.
  [[nodiscard]] std::string_view text(std::uint32_t value) const noexcept;
  /// Bytes of a bytes value.
  [[nodiscard]] const PickleBlob& blob(const PickleValue& value) const noexcept { return blobs[value.first]; }
  /// The same, of a bytes or far_text value, kept from now on: read and decoded if it was left. The Input must live.
  /// Throws Error{corrupt} for text that does not spell bytes, Error{limit_exceeded} for Limits::pickle_bytes.
  const PickleBlob& fetch(const PickleValue& value, const Limits& limits);
  /// The name of a global value.
  [[nodiscard]] const PickleGlobal& global(const PickleValue& value) const noexcept { return globals[value.count]; }
};

/// Runs the pickle that begins at the cursor, to its STOP; the cursor is left behind it.
///
/// With `left_in`, the cursor's Input, long byte strings are passed over: of those nothing is read, and
/// Limits::pickle_bytes does not count them.
///
/// `what` names the pickle in sentences. Throws Error{corrupt} with the opcode's offset for every operand of a kind
/// that the opcode cannot take, and for what is truncated; Error{unsupported} for opcodes that heft refuses;
/// Error{limit_exceeded} for Limits::pickle_*.
Pickle read_pickle(core::Cursor& cursor, const Limits& limits, std::string_view what,
                   const core::Input* left_in = nullptr);

/// The kind in a word: "list", "integer".
std::string_view name(PickleKind kind) noexcept;

}  // namespace heft::format
