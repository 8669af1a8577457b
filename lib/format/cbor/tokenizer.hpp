// format/cbor/tokenizer.hpp: reader of CBOR (RFC 8949) item by item; the only user of libcbor.
//
// libcbor's stateless decoder allocates nothing: each call decodes one head, and the bytes of a text. This reader keeps
// the nesting by a bounded recursion. It reads what serializers of data write: items of definite and of indefinite
// length (RFC 8949, 3.2), no tags.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/cursor.hpp"
#include "core/text.hpp"
#include "format/number_segments.hpp"
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
  bool is_indefinite = false;  ///< list, map: ends at a break; `number` is 0.
};

/// Reads the bytes [begin, end) of `input`, which must outlive the reader, as the limits must.
class CborReader {
 public:
  CborReader(const core::Input& input, std::uint64_t begin, std::uint64_t end, const Limits& limits)
      : input_(input), cursor_(input, begin, end), limits_(limits) {}

  /// Returns the next item. `what` names it in errors. Throws Error{corrupt} if the bytes end or are not CBOR, if the
  /// remaining bytes are too few for a declared count of items, and if a text is not UTF-8; Error{unsupported} for
  /// tags; Error{limit_exceeded} over metadata_items. A text or bytes of indefinite length are joined, and each of
  /// their chunks counts as an item; Error{limit_exceeded} over metadata_bytes.
  CborItem next(std::string_view what);
  /// Returns the next item. Throws Error{corrupt} also if it is of another kind.
  CborItem next(CborKind kind, std::string_view what);
  /// Returns true after the last item (of a map, pair) of `container`, of which `done` were read with all that is inside
  /// them; passes over the break of one of indefinite length.
  bool ends(const CborItem& container, std::uint64_t done);
  /// Skips the items inside `item`, the last one that next() returned. Throws Error{limit_exceeded} over
  /// metadata_depth.
  void skip_inside(const CborItem& item, std::string_view what, std::uint64_t depth = 1);

  /// Steps over the items inside `list`, the last one that next() returned, if there are `least` or more and all of them
  /// are numbers. Their bytes are not kept. Returns nothing, without a step, if one is not, if the bytes end, and over
  /// metadata_items.
  std::optional<SegmentedNumbers> step_numbers(const CborItem& list, std::uint64_t least);

  [[nodiscard]] std::uint64_t remaining() const noexcept { return cursor_.remaining(); }
  [[nodiscard]] std::uint64_t offset() const noexcept { return cursor_.offset(); }
  [[nodiscard]] const core::Input& input() const noexcept { return input_; }
  /// Hands over the memory that texts point into.
  [[nodiscard]] std::vector<Bytes> release();

 private:
  CborItem read(std::string_view what);
  std::string_view join(const CborItem& start, std::string_view what);
  bool take_break();

  const core::Input& input_;
  core::Cursor cursor_;
  const Limits& limits_;
  std::uint64_t items_ = 0;
  core::Arena arena_{cursor_.budget()};  // joined texts
};

}  // namespace heft::format
