// format/cbor/tokenizer.hpp: CBOR (RFC 8949) item by item, the only user of libcbor.
//
// libcbor's stateless decoder allocates nothing, keeps nothing and calls nothing twice: one head, and the bytes of a
// text, are looked at in each call. Nesting is this reader's, as a stack of counts under a limit. Of CBOR it reads what
// serializers of data write: items of definite length, no tags.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "heft/limits.hpp"

namespace heft::format {

enum class CborKind : std::uint8_t { null, boolean, unsigned_integer, negative, real, text, bytes, list, map };

/// "a text", "a list"...
std::string_view name(CborKind kind) noexcept;

/// One item; of a container its head, the items inside follow.
struct CborItem {
  CborKind kind = CborKind::null;
  std::uint64_t offset = 0;  ///< Of its first byte.
  /// boolean: 0 or 1. unsigned_integer: the value. negative: the value is -1 - number. list: items. map: pairs.
  std::uint64_t number = 0;
  double real = 0;
  std::string_view text = {};  ///< text, bytes: points into what the reader was given.
};

/// Reads `bytes`, whose first is at `begin` of the file, for error offsets only. The bytes and the limits must outlive
/// it.
class CborReader {
 public:
  CborReader(std::span<const std::byte> bytes, std::uint64_t begin, const Limits& limits) noexcept
      : bytes_(bytes), begin_(begin), limits_(limits) {}

  /// The next item. `what` names it in errors. Throws Error{corrupt} when the bytes end or are no CBOR, when a declared
  /// count of items cannot fit what remains, and when a text is no UTF-8; Error{unsupported} for tags and indefinite
  /// lengths; Error{limit_exceeded} over metadata_items.
  CborItem next(std::string_view what);
  /// The next item, which must be of that kind: Error{corrupt} otherwise.
  CborItem next(CborKind kind, std::string_view what);
  /// Passes over what is inside of `item`, which next() gave last. Error{limit_exceeded} over metadata_depth.
  void skip_inside(const CborItem& item, std::string_view what);

  [[nodiscard]] std::uint64_t remaining() const noexcept { return bytes_.size() - at_; }
  [[nodiscard]] std::uint64_t offset() const noexcept { return begin_ + at_; }

 private:
  std::span<const std::byte> bytes_;
  std::uint64_t begin_;
  const Limits& limits_;
  std::size_t at_ = 0;
  std::uint64_t items_ = 0;
};

}  // namespace heft::format
