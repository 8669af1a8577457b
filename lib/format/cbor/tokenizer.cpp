#include "format/cbor/tokenizer.hpp"

#include <array>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <cbor.h>
#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t max_head_bytes = 9;
constexpr std::byte break_byte{0xFF};

/// The result of one call of the decoder.
struct Found {
  CborItem item;
  std::string_view unsupported = {};
  bool is_break = false;
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

// The head of an item of indefinite length.
template <CborKind kind>
void set_indefinite(void* found) {
  auto& item = static_cast<Found*>(found)->item;
  item.kind = kind;
  item.is_indefinite = true;
}

void set_null(void* found) { static_cast<Found*>(found)->item.kind = CborKind::null; }
void set_undefined(void* found) { static_cast<Found*>(found)->unsupported = "undefined"; }
void set_break(void* found) { static_cast<Found*>(found)->is_break = true; }
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
  calls.byte_string_start = set_indefinite<bytes>;
  calls.string_start = set_indefinite<text>;
  calls.indef_array_start = set_indefinite<list>;
  calls.indef_map_start = set_indefinite<map>;
  calls.indef_break = set_break;
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
  CborItem item = read(what);
  if (item.is_indefinite && (item.kind == CborKind::text || item.kind == CborKind::bytes)) {
    item.text = join(item, what);
    item.is_indefinite = false;
  }
  return item;
}

/// Reads one head, and the bytes of a text or bytes of definite length.
CborItem CborReader::read(std::string_view what) {
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
  if (found.is_break)
    throw Error(ErrorCode::corrupt, fmt::format("expected {}, found a break, which ends no container here", what),
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

/// Returns the chunks of a text or bytes of indefinite length, whose start was read, as one.
std::string_view CborReader::join(const CborItem& start, std::string_view what) {
  std::string joined;
  while (!take_break()) {
    const CborItem chunk = read(what);
    if (chunk.kind != start.kind || chunk.is_indefinite)
      throw Error(ErrorCode::corrupt,
                  fmt::format("{}: expected a chunk of {}, or a break, found {}", what, name(start.kind),
                              chunk.is_indefinite ? "an item of indefinite length" : name(chunk.kind)),
                  {.offset = chunk.offset});
    core::require_limit(joined.size() + chunk.text.size(), limits_.metadata_bytes, what, "metadata_bytes",
                        start.offset);
    joined += chunk.text;
  }
  return arena_.store(joined);
}

/// Passes over a break, if it is next.
bool CborReader::take_break() {
  const std::span<const std::byte> next = cursor_.peek(1, "a break");
  if (next.empty() || next[0] != break_byte) return false;
  cursor_.skip(1, "a break");
  return true;
}

bool CborReader::ends(const CborItem& container, std::uint64_t done) {
  return container.is_indefinite ? take_break() : done == container.number;
}

std::vector<Bytes> CborReader::release() {
  std::vector<Bytes> kept = cursor_.release();
  // Keeps joined texts by an owner without bytes.
  if (arena_.size_bytes() > 0)
    kept.emplace_back(std::span<const std::byte>(), std::make_shared<core::Arena>(std::move(arena_)));
  return kept;
}

std::optional<SegmentedNumbers> CborReader::step_numbers(const CborItem& list, std::uint64_t least) {
  if (!list.is_indefinite && list.number < least) return std::nullopt;
  // Numbers count as items, although they become no nodes; next() refuses the one over the limit.
  if (!core::inside(items_, list.number, limits_.metadata_items)) return std::nullopt;
  const std::uint64_t most = list.is_indefinite ? limits_.metadata_items - items_ : list.number;
  SegmentedNumbers numbers(Spelling::cbor, cursor_.budget());
  std::uint64_t ahead = 0;
  std::uint64_t wanted = 1;
  while (list.is_indefinite || numbers.size() < most) {
    const std::span<const std::byte> bytes = cursor_.look(ahead, wanted);
    if (list.is_indefinite && !bytes.empty() && bytes[0] == break_byte) break;
    const std::size_t used = numbers.step(bytes, offset() + ahead, most - numbers.size());
    // No number, or one that the bytes looked at do not have whole.
    if (used == 0 && (bytes.empty() || wanted > 1)) return std::nullopt;
    ahead += used;
    wanted = used == 0 ? max_spelled_bytes : 1;
  }
  if (numbers.size() < least) return std::nullopt;
  cursor_.skip(ahead + (list.is_indefinite ? 1 : 0), "a list of numbers");
  items_ += numbers.size();
  return numbers;
}

void CborReader::skip_inside(const CborItem& item, std::string_view what, std::uint64_t depth) {
  if (item.kind != CborKind::list && item.kind != CborKind::map) return;
  // Before the recursion: the file determines the nesting.
  core::require_limit(depth, limits_.metadata_depth, "the nesting of CBOR", "metadata_depth", item.offset);
  for (std::uint64_t done = 0; !ends(item, done); ++done) {
    if (item.kind == CborKind::map) skip_inside(next(what), what, depth + 1);
    skip_inside(next(what), what, depth + 1);
  }
}

}  // namespace heft::format
