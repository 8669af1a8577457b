// format/msgpack/tokenizer.hpp: MessagePack item by item, the only user of libmpack.
//
// libmpack's tokenizer is fed the bytes of one head at a time. It allocates nothing and keeps nothing of a payload: of
// a `bin` it says how long it is, and this reader passes over the bytes without reading them. So a record of gigabytes
// is opened for what its heads weigh.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/input.hpp"
#include "format/msgpack/numbers.hpp"
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

/// "a text", "a list"...
std::string_view name(PackKind kind) noexcept;

/// The head of an item. What a text, bytes or an extension holds follows at payload(), what a list or map holds are the
/// next items.
struct PackItem {
  PackKind kind = PackKind::nil;
  std::int8_t extension = 0;  ///< The type of an extension.
  std::uint64_t offset = 0;   ///< Of the first byte.
  std::uint64_t payload = 0;  ///< Of the first byte after the head.
  /// boolean: 0 or 1. unsigned_integer: the value. real32, real64: the bits. text, bytes, extension: bytes. list: items.
  /// map: pairs.
  std::uint64_t number = 0;
  std::int64_t integer = 0;  ///< negative: the value.
  double real = 0;           ///< real32, real64: the value.

  [[nodiscard]] bool has_payload() const noexcept {
    return kind == PackKind::text || kind == PackKind::bytes || kind == PackKind::extension;
  }
  /// Items that follow the head and belong to it.
  [[nodiscard]] std::uint64_t items_inside() const noexcept {
    return kind == PackKind::map ? 2 * number : kind == PackKind::list ? number : 0;
  }
};

/// Reads the region [begin, end) of `input`; both it and the limits must outlive the reader.
class PackReader {
 public:
  PackReader(const core::Input& input, std::uint64_t begin, std::uint64_t end, const Limits& limits);

  /// The head of the next item; its payload, if it has one, is to be taken or skipped before the next call. `what`
  /// names it in errors. Throws Error{corrupt} when the bytes end or are no MessagePack, when a payload does not fit
  /// what remains, or when a declared count of items cannot.
  PackItem next(std::string_view what);
  /// The next item, which must be of that kind: Error{corrupt} otherwise.
  PackItem next(PackKind kind, std::string_view what);
  /// The payload of the text or bytes that next() gave last; valid until the reader is used again.
  /// Error{limit_exceeded} over metadata_bytes.
  std::string_view take_text(const PackItem& item, std::string_view what);
  /// Passes over the payload of `item`, or over all that is inside it. Error{limit_exceeded} over metadata_depth.
  void skip(const PackItem& item, std::string_view what);
  /// Steps over the items of `list`, whose head next() gave last, as far as they are numbers. Nothing where one is not:
  /// the reader then stands at it. Appends the bytes stepped over to `spelled`, if it is not null. Throws
  /// Error{corrupt} when the bytes end before the list, Error{limit_exceeded} for more than metadata_bytes in
  /// `spelled`.
  std::optional<NumberSteps> step_numbers(const PackItem& list, std::string_view what,
                                          SpelledNumbers* spelled = nullptr);
  /// Goes back to an item's offset.
  void seek(std::uint64_t offset) noexcept { at_ = offset; }

  [[nodiscard]] std::uint64_t offset() const noexcept { return at_; }
  [[nodiscard]] std::uint64_t remaining() const noexcept { return end_ - at_; }

 private:
  std::string_view take(std::uint64_t size, std::string_view what);
  void load(std::uint64_t size);
  void pass(std::uint64_t size, std::string_view what);

  const core::Input& input_;
  const Limits& limits_;
  std::uint64_t at_;
  std::uint64_t end_;
  std::span<const std::byte> chunk_;  // what was read last, in one of these two; nothing else is kept
  std::vector<std::byte> room_;
  Bytes long_text_;
  std::uint64_t chunk_begin_ = 0;
  std::uint64_t chunk_bytes_;
};

}  // namespace heft::format
