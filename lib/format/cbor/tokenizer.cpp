#include "format/cbor/tokenizer.hpp"

#include <array>
#include <string>
#include <utility>
#include <vector>

#include <cbor.h>
#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/nesting.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t max_head_bytes = 9;

/// The result of one call of the decoder.
struct Found {
  CborItem item;
  std::string_view unsupported = {};
};

template <CborKind kind, class Number>
void set_number(void* found, Number number) {
  auto& item = static_cast<Found*>(found)->item;
  item.kind = kind;
  // libcbor widens half-precision reals to float itself. A head of a container arrives as its count.
  if constexpr (kind == CborKind::real)
    item.real = static_cast<double>(number);
  else
    item.number = number;
}

template <CborKind kind>
void set_text(void* found, cbor_data text, std::size_t size) {
  auto& item = static_cast<Found*>(found)->item;
  item.kind = kind;
  item.text = {reinterpret_cast<const char*>(text), size};
}

void set_null(void* found) { static_cast<Found*>(found)->item.kind = CborKind::null; }
void set_undefined(void* found) { static_cast<Found*>(found)->unsupported = "undefined"; }
void set_indefinite(void* found) { static_cast<Found*>(found)->unsupported = "an item of indefinite length"; }
void set_tag(void* found, std::uint64_t) { static_cast<Found*>(found)->unsupported = "a tag"; }

// libcbor calls a function for each kind of item; each stores it in the Found that next() passes.
constexpr cbor_callbacks callbacks = [] {
  using enum CborKind;
  cbor_callbacks calls{};
  calls.uint8 = set_number<unsigned_integer, std::uint8_t>;
  calls.uint16 = set_number<unsigned_integer, std::uint16_t>;
  calls.uint32 = set_number<unsigned_integer, std::uint32_t>;
  calls.uint64 = set_number<unsigned_integer, std::uint64_t>;
  calls.negint8 = set_number<negative, std::uint8_t>;
  calls.negint16 = set_number<negative, std::uint16_t>;
  calls.negint32 = set_number<negative, std::uint32_t>;
  calls.negint64 = set_number<negative, std::uint64_t>;
  calls.byte_string = set_text<bytes>;
  calls.string = set_text<text>;
  calls.array_start = set_number<list, std::size_t>;
  calls.map_start = set_number<map, std::size_t>;
  calls.float2 = set_number<real, float>;
  calls.float4 = set_number<real, float>;
  calls.float8 = set_number<real, double>;
  calls.boolean = set_number<boolean, bool>;
  calls.null = set_null;
  calls.undefined = set_undefined;
  calls.tag = set_tag;
  // libcbor calls through every pointer without a test for null, so each must be set.
  calls.byte_string_start = calls.string_start = calls.indef_array_start = calls.indef_map_start = calls.indef_break =
      set_indefinite;
  return calls;
}();

// Returns the number of items that belong to a container, 0 for others.
std::uint64_t items_inside(const CborItem& item) {
  // A map has a key and a value for each pair; the declared count has 64 bits, so its double can overflow.
  if (item.kind == CborKind::map) return core::mul_or_throw(item.number, 2, "pairs of a map");
  return item.kind == CborKind::list ? item.number : 0;
}

}  // namespace

std::string_view name(CborKind kind) noexcept {
  constexpr std::array<std::string_view, 9> names{
      "null",   "a boolean", "an unsigned integer", "a negative number", "a real number", "a text", "bytes",
      "a list", "a map"};
  return names[static_cast<std::size_t>(kind)];
}

CborItem CborReader::next(std::string_view what) {
  // Counted before decoding, over the whole document: each item can become a node.
  core::require_limit(++items_, limits_.metadata_items, "the number of CBOR items", "metadata_items", offset());
  Found found;
  // Set before decoding: errors about an item contain the offset of its first byte.
  found.item.offset = offset();
  // The decoder reads one head and, for texts and bytes, their contents; `read` is the length of both.
  std::span<const std::byte> rest = cursor_.peek(max_head_bytes, what);
  const auto decode = [&] {
    return cbor_stream_decode(reinterpret_cast<cbor_data>(rest.data()), rest.size(), &callbacks, &found);
  };
  cbor_decoder_result result = decode();
  // A text can be longer than what was read ahead; its head says by how much.
  if (result.status == CBOR_DECODER_NEDATA && result.required > rest.size() && result.required <= remaining()) {
    rest = cursor_.peek(result.required, what);
    result = decode();
  }
  // The decoder has all bytes that there are, so asking for more means that the document is cut.
  if (result.status == CBOR_DECODER_NEDATA)
    throw Error(ErrorCode::corrupt, fmt::format("expected {}, the CBOR metadata end {} bytes later", what, remaining()),
                {.offset = offset()});
  if (result.status != CBOR_DECODER_FINISHED)
    throw Error(
        ErrorCode::corrupt,
        fmt::format("expected {}, found a byte that is not CBOR: {:02x}", what, std::to_integer<unsigned>(rest[0])),
        {.offset = offset()});
  // The callback cannot throw through libcbor's C code: it leaves a mark, which is reported here.
  if (!found.unsupported.empty())
    throw Error(ErrorCode::unsupported,
                fmt::format("expected {}, found CBOR's {}, which heft does not read", what, found.unsupported),
                {.offset = offset()});
  cursor_.skip(result.read, what);
  // Every item has at least one byte.
  if (const std::uint64_t inside = items_inside(found.item); inside > remaining())
    throw Error(ErrorCode::corrupt,
                fmt::format("{}: {} items are declared, {} bytes remain", what, inside, remaining()),
                {.offset = found.item.offset});
  // RFC 8949, 3.1, requires UTF-8 of texts; libcbor's stateless decoder does not check it.
  if (found.item.kind == CborKind::text && !core::is_utf8(found.item.text))
    throw Error(ErrorCode::corrupt,
                fmt::format("expected {} in UTF-8, found '{}'", what, core::escaped(found.item.text)),
                {.offset = found.item.offset});
  return found.item;
}

CborItem CborReader::next(CborKind kind, std::string_view what) {
  const CborItem item = next(what);
  if (item.kind != kind)
    throw Error(ErrorCode::corrupt, fmt::format("{}: expected {}, found {}", what, name(kind), name(item.kind)),
                {.offset = item.offset});
  return item;
}

std::optional<SegmentedNumbers> CborReader::step_numbers(const CborItem& list) {
  // Numbers count as items, although they become no nodes; next() refuses the one over the limit.
  if (!core::inside(items_, list.number, limits_.metadata_items)) return std::nullopt;
  SegmentedNumbers numbers(Spelling::cbor, cursor_.budget());
  std::uint64_t ahead = 0;
  std::uint64_t least = 1;
  while (numbers.size() < list.number) {
    const std::span<const std::byte> bytes = cursor_.look(ahead, least);
    const std::size_t used = numbers.step(bytes, offset() + ahead, list.number - numbers.size());
    // No number, or one that the bytes looked at do not have whole.
    if (used == 0 && (bytes.empty() || least > 1)) return std::nullopt;
    ahead += used;
    least = used == 0 ? max_spelled_bytes : 1;
  }
  cursor_.skip(ahead, "a list of numbers");
  items_ += list.number;
  return numbers;
}

void CborReader::skip_inside(const CborItem& item, std::string_view what) {
  Nesting nesting(limits_, "the nesting of CBOR");
  nesting.open(items_inside(item), item.offset);
  while (nesting.next()) {
    const CborItem inner = next(what);
    nesting.open(items_inside(inner), inner.offset);
  }
}

}  // namespace heft::format
