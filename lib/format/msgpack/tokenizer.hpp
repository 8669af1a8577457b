// format/msgpack/tokenizer.hpp: reader of MessagePack item by item; the only user of libmpack.
//
// libmpack's tokenizer is fed the bytes of one head at a time and allocates nothing. It returns the length of a `bin`,
// whose bytes this reader skips without reading them. So opening a record of gigabytes reads little more than its
// heads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/input.hpp"
#include "format/msgpack/numbers.hpp"
#include "format/number_segments.hpp"
#include "heft/bytes.hpp"
#include "heft/limits.hpp"

namespace heft::format {

enum class PackKind : std::uint8_t {
  nil,
  boolean,
  unsigned_integer,
  negative,
  real32,
  real64,
  text,
  bytes,
  extension,
  list,
  map
};

/// Returns "a text", "a list"...
std::string_view name(PackKind kind) noexcept;

/// The head of an item. The bytes of a text, bytes or an extension start at `payload`; the contents of a list or map
/// are the next items.
struct PackItem {
  PackKind kind = PackKind::nil;
  std::int8_t extension = 0;  ///< The type of an extension.
  std::uint64_t offset = 0;   ///< Offset of the first byte.
  std::uint64_t payload = 0;  ///< Offset of the first byte after the head.
  /// boolean: 0 or 1. unsigned_integer: the value. real32, real64: the bits. text, bytes, extension: bytes. list:
  /// items. map: pairs.
  std::uint64_t number = 0;
  std::int64_t integer = 0;  ///< negative: the value.
  double real = 0;           ///< real32, real64: the value.

  [[nodiscard]] bool has_payload() const noexcept {
    return kind == PackKind::text || kind == PackKind::bytes || kind == PackKind::extension;
  }
  /// Returns the number of items of the container.
  [[nodiscard]] std::uint64_t items_inside() const noexcept {
    return kind == PackKind::map ? 2 * number : kind == PackKind::list ? number : 0;
  }
};

/// Reads the region [begin, end) of `input`. The input and the limits must outlive the reader.
class PackReader {
 public:
  PackReader(const core::Input& input, std::uint64_t begin, std::uint64_t end, const Limits& limits);

  /// Returns the head of the next item. The caller must take or skip its payload, if it has one, before the next call.
  /// `what` names the item in errors. Throws Error{corrupt} if the bytes end or are not MessagePack, and if the
  /// remaining bytes are too few for a payload or a declared count of items.
  PackItem next(std::string_view what);
  /// Returns the head of the next item. Throws Error{corrupt} also if it is of another kind.
  PackItem next(PackKind kind, std::string_view what);
  /// Returns the payload of the text or bytes that next() returned last; valid until the reader is used again. Throws
  /// Error{limit_exceeded} over metadata_bytes.
  std::string_view take_text(const PackItem& item, std::string_view what);
  /// Skips the payload of `item`, or all items inside it. Throws Error{limit_exceeded} over metadata_depth.
  void skip(const PackItem& item, std::string_view what);
  /// Steps over the numbers of `list`, whose head next() returned last. Returns nothing if an item is not a number; the
  /// reader is then at that item. Throws Error{corrupt} if the bytes end before the list.
  std::optional<NumberSteps> step_numbers(const PackItem& list, std::string_view what);
  /// The same for a list that is a value. With `copy`, which must be empty, the bytes stepped over are appended to it,
  /// and the segments lie in it; throws Error{limit_exceeded} for more than metadata_bytes.
  std::optional<SegmentedNumbers> segment_numbers(const PackItem& list, std::string_view what, SpelledNumbers* copy);
  /// Moves to the offset of an item.
  void seek(std::uint64_t offset) noexcept { at_ = offset; }

  [[nodiscard]] const core::Input& input() const noexcept { return input_; }
  [[nodiscard]] std::uint64_t offset() const noexcept { return at_; }
  [[nodiscard]] std::uint64_t remaining() const noexcept { return end_ - at_; }

 private:
  template <class Stepper>
  bool step_over(Stepper& stepper, std::uint64_t count, std::string_view what);
  std::string_view take(std::uint64_t size, std::string_view what);
  void load(std::uint64_t size);
  void pass(std::uint64_t size, std::string_view what);

  const core::Input& input_;
  const Limits& limits_;
  std::uint64_t at_;
  std::uint64_t end_;
  std::span<const std::byte> chunk_;  // the last bytes read, in one of the next two
  std::vector<std::byte> room_;
  Bytes long_text_;
  std::uint64_t chunk_begin_ = 0;
  std::uint64_t chunk_bytes_;
};

}  // namespace heft::format
