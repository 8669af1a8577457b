#include "format/msgpack/tokenizer.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "format/nesting.hpp"
#include "heft/error.hpp"

// Included last, because this C header defines a macro that is undefined after it.
extern "C" {
#include <mpack.h>
}
#undef bool

namespace heft::format {
namespace {

// Sizes of reads: small after a skipped payload, because the next head is short, and growing while nothing is skipped.
constexpr std::uint64_t min_chunk_bytes = 4096;
constexpr std::uint64_t max_chunk_bytes = 256u << 10;

// Returns the token's value, which libmpack keeps in two halves of 32 bits.
std::uint64_t bits_of(const mpack_token_t& token) noexcept {
  return token.length > 4 ? std::uint64_t{token.data.value.hi} << 32 | token.data.value.lo : token.data.value.lo;
}

/// Returns the token's number, whose `length` bytes are two's complement.
std::int64_t signed_of(const mpack_token_t& token) noexcept {
  const std::uint64_t bits = bits_of(token);
  const unsigned unused = 64 - 8 * std::min<unsigned>(token.length, 8);
  return static_cast<std::int64_t>(bits << unused) >> unused;
}

// Converts libmpack's token to an item. For containers and payloads the token has the declared length only.
void set_value(PackItem& item, const mpack_token_t& token) {
  switch (token.type) {
    case MPACK_TOKEN_BOOLEAN:
      item.kind = PackKind::boolean;
      item.number = token.data.value.lo;
      return;
    case MPACK_TOKEN_UINT:
      item.kind = PackKind::unsigned_integer;
      item.number = bits_of(token);
      return;
    case MPACK_TOKEN_SINT:
      item.kind = PackKind::negative;
      item.integer = signed_of(token);
      return;
    case MPACK_TOKEN_FLOAT:
      item.kind = token.length == 4 ? PackKind::real32 : PackKind::real64;
      item.number = bits_of(token);
      item.real = token.length == 4 ? std::bit_cast<float>(token.data.value.lo) : std::bit_cast<double>(bits_of(token));
      return;
    case MPACK_TOKEN_EXT: item.extension = static_cast<std::int8_t>(token.data.ext_type); [[fallthrough]];
    case MPACK_TOKEN_STR:
    case MPACK_TOKEN_BIN:
    case MPACK_TOKEN_ARRAY:
    case MPACK_TOKEN_MAP: item.number = token.length; break;
    case MPACK_TOKEN_NIL:
    // Never returned: the tokenizer is not asked for payloads.
    case MPACK_TOKEN_CHUNK: return;
  }
  item.kind = token.type == MPACK_TOKEN_STR     ? PackKind::text
              : token.type == MPACK_TOKEN_BIN   ? PackKind::bytes
              : token.type == MPACK_TOKEN_EXT   ? PackKind::extension
              : token.type == MPACK_TOKEN_ARRAY ? PackKind::list
                                                : PackKind::map;
}

}  // namespace

std::string_view name(PackKind kind) noexcept {
  constexpr std::array<std::string_view, 11> names{"nil",
                                                   "a boolean",
                                                   "an unsigned integer",
                                                   "a negative number",
                                                   "a real number",
                                                   "a real number",
                                                   "a text",
                                                   "bytes",
                                                   "an extension",
                                                   "a list",
                                                   "a map"};
  return names[static_cast<std::size_t>(kind)];
}

PackReader::PackReader(const core::Input& input, std::uint64_t begin, std::uint64_t end, const Limits& limits)
    : input_(input), limits_(limits), at_(begin), end_(end), chunk_bytes_(min_chunk_bytes) {
  // Checked once: all later reads are compared with `end` only.
  core::require_inside(begin, end - begin, input.size_bytes(), "the file");
}

// Feeds the tokenizer one byte, which determines the length of the head, and then the rest of the head.
PackItem PackReader::next(std::string_view what) {
  PackItem item;
  item.offset = offset();
  mpack_tokbuf_t state;
  mpack_tokbuf_init(&state);
  mpack_token_t token{};
  int status = MPACK_EOF;
  // libmpack keeps an incomplete head in `state`, so bytes that take() returned need not stay valid. Heads have at
  // most 9 bytes.
  for (std::size_t wanted = 1; status == MPACK_EOF; wanted = std::max<std::size_t>(state.plen - state.ppos, 1)) {
    const std::string_view bytes = take(wanted, what);
    const char* from = bytes.data();
    std::size_t left = bytes.size();
    status = mpack_read(&state, &from, &left, &token);
  }
  if (status != MPACK_OK)
    throw Error(ErrorCode::corrupt, fmt::format("expected {}, found a byte that is not MessagePack: c1", what),
                {.offset = item.offset});
  set_value(item, token);
  item.payload = offset();
  // Every item has at least one byte.
  if (const std::uint64_t needed = item.has_payload() ? item.number : item.items_inside(); needed > remaining())
    throw Error(ErrorCode::corrupt,
                fmt::format("{}: {} of {} {} are declared, {} bytes remain", what, name(item.kind), needed,
                            item.has_payload() ? "bytes" : "items", remaining()),
                {.offset = item.offset});
  return item;
}

PackItem PackReader::next(PackKind kind, std::string_view what) {
  const PackItem item = next(what);
  if (item.kind != kind)
    throw Error(ErrorCode::corrupt, fmt::format("{}: expected {}, found {}", what, name(kind), name(item.kind)),
                {.offset = item.offset});
  return item;
}

std::string_view PackReader::take_text(const PackItem& item, std::string_view what) {
  // next() has compared the length with the bytes of the file; this bounds the memory that the text takes.
  core::require_limit(item.number, limits_.metadata_bytes, what, "metadata_bytes", item.offset);
  return take(item.number, what);
}

void PackReader::skip(const PackItem& item, std::string_view what) {
  if (item.has_payload()) return pass(item.number, what);
  Nesting nesting(limits_, "the nesting of MessagePack");
  nesting.open(item.items_inside(), item.offset);
  while (nesting.next()) {
    const PackItem inner = next(what);
    if (inner.has_payload()) pass(inner.number, what);
    nesting.open(inner.items_inside(), inner.offset);
  }
}

namespace {

// Feeds a SegmentedNumbers as NumberStepper is fed.
class Segmenter {
 public:
  Segmenter(std::uint64_t begin, std::uint64_t count, const Limits& limits, SpelledNumbers* copy,
            std::shared_ptr<core::MetadataBudget> budget)
      : numbers_(Spelling::msgpack, std::move(budget)), at_(begin), count_(count), limits_(limits), copy_(copy) {}

  std::size_t feed(std::span<const std::byte> bytes) {
    const std::uint64_t from = copy_ == nullptr ? at_ : copy_->bytes.size();
    const std::size_t used = numbers_.step(bytes, from, count_ - numbers_.size());
    met_other_ = used == 0 && number_head(bytes[0]).kind == NumberKind::other;
    if (copy_ != nullptr) {
      core::require_limit(copy_->bytes.size() + used, limits_.metadata_bytes, "a list of numbers", "metadata_bytes",
                          at_);
      copy_->append(bytes.first(used));
    }
    at_ += used;
    return used;
  }
  [[nodiscard]] bool is_done() const noexcept { return numbers_.size() == count_; }
  [[nodiscard]] bool met_other() const noexcept { return met_other_; }
  [[nodiscard]] SegmentedNumbers release() noexcept { return std::move(numbers_); }

 private:
  SegmentedNumbers numbers_;
  std::uint64_t at_;
  std::uint64_t count_;
  const Limits& limits_;
  SpelledNumbers* copy_;
  bool met_other_ = false;
};

}  // namespace

// Feeds the stepper with the bytes of whole chunks and not item by item: a list can have a billion numbers. Returns
// false at an item that is not a number.
template <class Stepper>
bool PackReader::step_over(Stepper& stepper, std::uint64_t count, std::string_view what) {
  while (!stepper.is_done()) {
    if (remaining() == 0)
      throw Error(ErrorCode::corrupt, fmt::format("{}: {} items are declared, the bytes end before", what, count),
                  {.offset = at_});
    load(1);
    const auto rest = chunk_.subspan(static_cast<std::size_t>(at_ - chunk_begin_));
    const std::size_t used = stepper.feed(rest);
    at_ += used;
    if (stepper.met_other()) return false;
    // Progress was made, or a number needs more bytes than the chunk has left.
    if (used > 0 || stepper.is_done()) continue;
    // The number crosses the end of the chunk, or that of the region.
    const std::size_t size = std::size_t{1} + number_head(rest[0]).width;
    core::require_inside(at_, size, end_, what);
    load(size);
  }
  return true;
}

std::optional<NumberSteps> PackReader::step_numbers(const PackItem& list, std::string_view what) {
  NumberStepper stepper(at_, list.number);
  if (!step_over(stepper, list.number, what)) return std::nullopt;
  return stepper.release();
}

std::optional<SegmentedNumbers> PackReader::segment_numbers(const PackItem& list, std::string_view what,
                                                            SpelledNumbers* copy) {
  Segmenter stepper(at_, list.number, limits_, copy, input_.budget());
  if (!step_over(stepper, list.number, what)) return std::nullopt;
  return stepper.release();
}

std::string_view PackReader::take(std::uint64_t size, std::string_view what) {
  core::require_inside(at_, size, end_, what);
  load(size);
  const char* from = reinterpret_cast<const char*>(chunk_.data()) + (at_ - chunk_begin_);
  at_ += size;
  return {from, static_cast<std::size_t>(size)};
}

// Loads the next `size` bytes into the chunk. Requires that they lie in the region.
void PackReader::load(std::uint64_t size) {
  if (at_ >= chunk_begin_ && core::inside(at_ - chunk_begin_, size, chunk_.size())) return;
  // Reading continues in or directly after the chunk: larger reads pay off. After a skipped payload only a head is
  // needed.
  const bool goes_on = at_ <= chunk_begin_ + chunk_.size() && at_ > chunk_begin_;
  chunk_bytes_ = goes_on ? std::min(2 * chunk_bytes_, max_chunk_bytes) : min_chunk_bytes;
  const std::uint64_t wanted = std::min(std::max(size, chunk_bytes_), remaining());
  // A text longer than a chunk is read into memory of its own, so that the buffer does not keep that size.
  if (wanted > max_chunk_bytes) {
    long_text_ = input_.read(at_, wanted);
    chunk_ = long_text_.span();
  } else {
    room_.resize(static_cast<std::size_t>(wanted));
    input_.read_into(at_, room_);
    chunk_ = room_;
    long_text_ = {};
  }
  chunk_begin_ = at_;
}

void PackReader::pass(std::uint64_t size, std::string_view what) {
  core::require_inside(at_, size, end_, what);
  at_ += size;
}

}  // namespace heft::format
