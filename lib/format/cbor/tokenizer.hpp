// format/cbor/tokenizer.hpp: reader of CBOR (RFC 8949) item by item; the only user of libcbor.
//
// libcbor's stateless decoder allocates nothing: each call decodes one head, and the bytes of a text. This reader keeps
// the nesting as a bounded stack of counts. It reads the subset that serializers of data write: items of definite
// length, no tags.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "heft/limits.hpp"

namespace heft::format {

enum class CborKind : std::uint8_t { null, boolean, unsigned_integer, negative, real, text, bytes, list, map };

/// Returns "a text", "a list"...
std::string_view name(CborKind kind) noexcept;

/// One item; for a container its head, which the items inside follow.
struct CborItem {
  CborKind kind = CborKind::null;
  std::uint64_t offset = 0;  ///< Offset of its first byte.
  /// boolean: 0 or 1. unsigned_integer: the value. negative: the value is -1 - number. list: items. map: pairs.
  std::uint64_t number = 0;
  double real = 0;
  std::string_view text = {};  ///< text, bytes: points into the reader's bytes.
};

/// Reads `bytes`. `begin` is the offset of the first in the file, used for errors only. The bytes and the limits must
/// outlive the reader.
class CborReader {
 public:
  CborReader(std::span<const std::byte> bytes, std::uint64_t begin, const Limits& limits) noexcept
      : bytes_(bytes), begin_(begin), limits_(limits) {}

  /// Returns the next item. `what` names it in errors. Throws Error{corrupt} if the bytes end or are not CBOR, if the
  /// remaining bytes are too few for a declared count of items, and if a text is not UTF-8; Error{unsupported} for tags
  /// and indefinite lengths; Error{limit_exceeded} over metadata_items.
  CborItem next(std::string_view what);
  /// Returns the next item. Throws Error{corrupt} also if it is of another kind.
  CborItem next(CborKind kind, std::string_view what);
  /// Skips the items inside `item`, the last one that next() returned. Throws Error{limit_exceeded} over
  /// metadata_depth.
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
