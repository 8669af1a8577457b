#include "format/number_segments.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "core/endian.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr unsigned char pickled_real = 'G';
constexpr unsigned char pickled_int8 = 'K';
constexpr unsigned char pickled_int16 = 'M';
constexpr unsigned char pickled_int32 = 'J';
constexpr unsigned char pickled_long = 0x8A;
constexpr unsigned char cbor_f16 = 0xF9;
constexpr unsigned char cbor_f32 = 0xFA;
constexpr unsigned char cbor_f64 = 0xFB;
constexpr unsigned char packed_f32 = 0xCA;
constexpr unsigned char packed_f64 = 0xCB;

SpelledNumber integer(std::uint32_t size, std::int64_t value) noexcept {
  return {NumberKind::integer, size, static_cast<std::uint64_t>(value)};
}

SpelledNumber natural(std::uint32_t size, std::uint64_t value) noexcept {
  return {value > INT64_MAX ? NumberKind::unsigned_integer : NumberKind::integer, size, value};
}

SpelledNumber real(std::uint32_t size, double value) noexcept {
  return {NumberKind::real64, size, std::bit_cast<std::uint64_t>(value)};
}

// Returns the value of a real of 16 bits (RFC 8949, appendix D).
double half_value(unsigned bits) noexcept {
  const int exponent = static_cast<int>(bits >> 10 & 0x1F);
  const auto mantissa = static_cast<double>(bits & 0x3FF);
  const double value = exponent == 0    ? std::ldexp(mantissa, -24)
                       : exponent != 31 ? std::ldexp(mantissa + 1024, exponent - 25)
                       : mantissa == 0  ? std::numeric_limits<double>::infinity()
                                        : std::numeric_limits<double>::quiet_NaN();
  return (bits & 0x8000) != 0 ? -value : value;
}

// LONG1: an opcode, a byte with the size of the value, and the value. Integers over 64 bits are no numbers of a list.
SpelledNumber pickled_long_number(std::span<const std::byte> from) noexcept {
  if (from.size() < 2) return {NumberKind::integer, 2, 0};
  const auto size = std::to_integer<std::uint32_t>(from[1]);
  if (size + 2 > max_spelled_bytes) return {};
  if (from.size() < size + 2) return {NumberKind::integer, size + 2, 0};
  const std::byte last = from[size + 1];
  // No bytes at all are 0.
  const bool is_negative = size > 0 && (last & std::byte{0x80}) != std::byte{0};
  std::uint64_t bits = is_negative ? ~std::uint64_t{0} : 0;
  for (std::uint32_t i = std::min(size, 8u); i-- > 0;) bits = bits << 8 | std::to_integer<std::uint64_t>(from[2 + i]);
  // A ninth byte has the sign only, and leaves the eighth to the value.
  if (size == 9 && last != (is_negative ? std::byte{0xFF} : std::byte{0})) return {};
  if (!is_negative) return natural(size + 2, bits);
  if (bits >> 63 == 0) return {};
  return integer(size + 2, static_cast<std::int64_t>(bits));
}

SpelledNumber pickled_number(std::span<const std::byte> from) noexcept {
  const std::byte* const value = from.data() + 1;
  switch (std::to_integer<unsigned char>(from[0])) {
    case pickled_real:
      return from.size() < 9 ? SpelledNumber{NumberKind::real64, 9, 0} : real(9, core::load_be<double>(value));
    case pickled_int8: return integer(2, from.size() < 2 ? 0 : std::to_integer<std::int64_t>(*value));
    case pickled_int16: return integer(3, from.size() < 3 ? 0 : core::load_le<std::uint16_t>(value));
    case pickled_int32: return integer(5, from.size() < 5 ? 0 : core::load_le<std::int32_t>(value));
    case pickled_long: return pickled_long_number(from);
    default: return {};
  }
}

SpelledNumber packed_number(std::span<const std::byte> from) noexcept {
  const NumberHead head = number_head(from[0]);
  if (head.kind == NumberKind::other) return {};
  const std::uint32_t size = 1u + head.width;
  if (from.size() < size) return {head.kind, size, 0};
  const std::uint64_t bits = number_bits(head, from.data());
  return head.kind == NumberKind::unsigned_integer ? natural(size, bits) : SpelledNumber{head.kind, size, bits};
}

SpelledNumber cbor_number(std::span<const std::byte> from) noexcept {
  const auto head = std::to_integer<unsigned>(from[0]);
  const std::byte* const value = from.data() + 1;
  if (head == 0xF4 || head == 0xF5) return {NumberKind::boolean, 1, head & 1};
  if (head >= cbor_f16 && head <= cbor_f64) {
    const std::uint32_t size = 1 + (2u << (head - cbor_f16));
    if (from.size() < size) return {NumberKind::real64, size, 0};
    return real(size, head == cbor_f16   ? half_value(core::load_be<std::uint16_t>(value))
                      : head == cbor_f32 ? double{core::load_be<float>(value)}
                                         : core::load_be<double>(value));
  }
  // The upper three bits are the major type; the lower five the value, or from 24 on its width.
  const unsigned low = head & 0x1F;
  if (head >> 5 > 1 || low > 27) return {};
  const std::uint32_t size = low < 24 ? 1 : 1 + (1u << (low - 24));
  if (from.size() < size) return {NumberKind::integer, size, 0};
  const std::uint64_t number = low < 24    ? low
                               : low == 24 ? std::to_integer<std::uint64_t>(*value)
                               : low == 25 ? core::load_be<std::uint16_t>(value)
                               : low == 26 ? core::load_be<std::uint32_t>(value)
                                           : core::load_be<std::uint64_t>(value);
  if (head >> 5 == 0) return natural(size, number);
  // -1 - n of a n over INT64_MAX does not fit 64 bits.
  if (number > INT64_MAX) return {};
  return integer(size, -1 - static_cast<std::int64_t>(number));
}

// Returns the bytes of the value of a real whose big-endian bytes are those of an element of `dtype`; 0 for others.
std::size_t direct_width(Spelling spelling, DType dtype, std::byte head) noexcept {
  const auto first = std::to_integer<unsigned char>(head);
  if (dtype == DType::f64)
    return first == (spelling == Spelling::pickle ? pickled_real
                     : spelling == Spelling::cbor ? cbor_f64
                                                  : packed_f64)
               ? 8
               : 0;
  return dtype == DType::f32 && spelling == Spelling::msgpack && first == packed_f32 ? 4 : 0;
}

// Returns the bits in which heads of numbers of the same kind and sign agree, 0 if those depend on the value.
std::uint8_t same_bits(Spelling spelling, std::byte head) noexcept {
  const auto first = std::to_integer<unsigned char>(head);
  switch (spelling) {
    case Spelling::pickle: return first == pickled_real || first == pickled_int8 || first == pickled_int16 ? 0xFF : 0;
    // Not 1b and 3b: a value of 8 bytes can be over INT64_MAX.
    case Spelling::cbor: return first >= cbor_f16 || ((first & 0x1F) >= 24 && (first & 0x1F) < 27) ? 0xFF : 0;
    default: {
      const NumberHead decoded = number_head(head);
      const bool by_value = decoded.kind == NumberKind::integer || decoded.kind == NumberKind::unsigned_integer;
      return by_value && (decoded.width == 8 || (decoded.width > 0 && decoded.kind == NumberKind::integer))
                 ? 0
                 : decoded.same_bits;
    }
  }
}

// Returns how many of the `most` numbers at `from`, of the first one's size, are known to be of its kind and sign.
std::size_t run_at(Spelling spelling, const std::byte* from, std::size_t size, std::size_t most) noexcept {
  if (const std::uint8_t bits = same_bits(spelling, *from); bits != 0) return run_of_heads(from, most, size - 1, bits);
  if (spelling != Spelling::pickle || *from != std::byte{pickled_int32}) return 1;
  // The last byte has the sign.
  std::size_t same = 1;
  while (same < most && from[same * size] == *from &&
         ((from[same * size + size - 1] ^ from[size - 1]) & std::byte{0x80}) == std::byte{0})
    ++same;
  return same;
}

[[noreturn]] void fail_kind(std::byte head, DType dtype, std::uint64_t offset) {
  throw Error(ErrorCode::changed_on_disk,
              fmt::format("a list of numbers: expected another number of a list of {}, as it was when the file was "
                          "opened, found the byte {:02x}",
                          name(dtype), std::to_integer<unsigned>(head)),
              {.offset = offset});
}

// Returns the bits of the number's value as an element of `dtype`; nothing if it is another value. `is_mixed` allows
// integers among reals.
std::optional<std::uint64_t> element_bits(const SpelledNumber& number, DType dtype, bool is_mixed) noexcept {
  const bool is_integer = number.kind == NumberKind::integer;
  const auto value = static_cast<std::int64_t>(number.bits);
  const auto if_so = [&](bool fits) { return fits ? std::optional(number.bits) : std::nullopt; };
  switch (dtype) {
    case DType::boolean: return if_so(number.kind == NumberKind::boolean);
    case DType::f32: return if_so(number.kind == NumberKind::real32);
    case DType::f64:
      // Widened, which is exact.
      if (number.kind == NumberKind::real32)
        return std::bit_cast<std::uint64_t>(double{std::bit_cast<float>(static_cast<std::uint32_t>(number.bits))});
      if (is_integer && is_mixed && is_exact_in_f64(number.kind, number.bits))
        return std::bit_cast<std::uint64_t>(static_cast<double>(value));
      return if_so(number.kind == NumberKind::real64);
    case DType::i64: return if_so(is_integer);
    // Of a list with a number over INT64_MAX; one with a sign as well was refused when the view was made.
    default: return if_so(number.kind == NumberKind::unsigned_integer || (is_integer && value >= 0));
  }
}

// Converts numbers of one head to 64-bit integers: `width` bytes after it, little-endian. Returns how many there are.
template <class T>
std::size_t gather_integers(const std::byte* from, std::byte* to, std::size_t count) noexcept {
  constexpr std::size_t stride = 1 + sizeof(T);
  std::size_t done = 0;
  for (; done < count && from[done * stride] == from[0]; ++done) {
    const auto value = static_cast<std::int64_t>(core::load_le<T>(from + done * stride + 1));
    std::memcpy(to + done * sizeof value, &value, sizeof value);
  }
  return done;
}

// Stores the low `width` bytes of `bits` in the host's byte order.
void store(std::uint64_t bits, std::size_t width, std::byte* to) noexcept {
  const auto low = static_cast<std::uint32_t>(bits);
  if (width == 1)
    *to = static_cast<std::byte>(bits);
  else if (width == 4)
    std::memcpy(to, &low, sizeof low);
  else
    std::memcpy(to, &bits, sizeof bits);
}

// Gathers the numbers at `from` that have the first one's head, if there is a loop for it; returns how many.
std::size_t gather_run_at(Spelling spelling, DType dtype, const std::byte* from, std::byte* to, std::size_t count,
                          GatherRun run) {
  if (const std::size_t width = direct_width(spelling, dtype, *from); width != 0) return run(width, from, to, count);
  // u64 is left out: only a number at a time is tested for its sign.
  if (spelling != Spelling::pickle || dtype != DType::i64) return 0;
  switch (std::to_integer<unsigned char>(*from)) {
    case pickled_int8: return gather_integers<std::uint8_t>(from, to, count);
    case pickled_int16: return gather_integers<std::uint16_t>(from, to, count);
    case pickled_int32: return gather_integers<std::int32_t>(from, to, count);
    default: return 0;
  }
}

}  // namespace

SpelledNumber spelled_number(Spelling spelling, std::span<const std::byte> from) noexcept {
  switch (spelling) {
    case Spelling::pickle: return pickled_number(from);
    case Spelling::cbor: return cbor_number(from);
    default: return packed_number(from);
  }
}

std::size_t SegmentedNumbers::step(std::span<const std::byte> bytes, std::uint64_t offset, std::uint64_t count) {
  std::size_t used = 0;
  while (count > 0 && used < bytes.size()) {
    const std::span<const std::byte> rest = bytes.subspan(used);
    const SpelledNumber number = spelled_number(spelling_, rest);
    if (number.kind == NumberKind::other || number.size > rest.size()) break;
    // A segment ends after max_segment numbers, and so does a run.
    const std::uint64_t room = segments_.empty() ? max_segment : max_segment - count_of(segments_.size() - 1);
    const std::uint64_t most = std::min({count, rest.size() / number.size, room == 0 ? max_segment : room});
    const std::size_t same = run_at(spelling_, rest.data(), number.size, static_cast<std::size_t>(most));
    add(number, same, offset + used);
    used += same * number.size;
    count -= same;
  }
  return used;
}

void SegmentedNumbers::add(const SpelledNumber& number, std::uint64_t count, std::uint64_t offset) {
  if (segments_.empty() || segments_.back().begin + segments_.back().size != offset ||
      count_of(segments_.size() - 1) >= max_segment)
    segments_.push_back({size(), offset, 0, number.size});
  NumberSegment& last = segments_.back();
  if (last.stride != number.size) last.stride = 0;
  last.size += static_cast<std::uint32_t>(count * number.size);
  dtype_.add(number.kind, number.bits, count);
}

void SegmentedNumbers::append(const SegmentedNumbers& more) {
  for (NumberSegment segment : more.segments_) {
    segment.first += size();
    segments_.push_back(segment);
  }
  dtype_.append(more.dtype_);
}

std::size_t SegmentedNumbers::segment_of(std::uint64_t number) const noexcept {
  const auto next = std::ranges::upper_bound(segments_, number, {}, &NumberSegment::first);
  return static_cast<std::size_t>(next - segments_.begin()) - 1;
}

std::uint64_t SegmentedNumbers::count_of(std::size_t segment) const noexcept {
  return (segment + 1 < segments_.size() ? segments_[segment + 1].first : size()) - segments_[segment].first;
}

Gathered gather_spelled(const SegmentedNumbers& numbers, DType dtype, std::span<const std::byte> from,
                        std::uint64_t offset, std::byte* to, std::uint64_t count, GatherRun run) {
  const Spelling spelling = numbers.spelling();
  const std::size_t width = info(dtype).block_bytes;
  Gathered done;
  while (done.numbers < count && done.used < from.size()) {
    const std::span<const std::byte> rest = from.subspan(done.used);
    const SpelledNumber number = spelled_number(spelling, rest);
    // Every number was checked when the list was stepped over: another kind now means that the file has changed.
    if (number.kind == NumberKind::other) fail_kind(rest[0], dtype, offset + done.used);
    if (number.size > rest.size()) break;
    const std::optional<std::uint64_t> bits = element_bits(number, dtype, numbers.dtype().is_mixed());
    if (!bits) fail_kind(rest[0], dtype, offset + done.used);
    std::byte* const element = to + done.numbers * width;
    const auto most =
        static_cast<std::size_t>(std::min<std::uint64_t>(count - done.numbers, rest.size() / number.size));
    if (const std::size_t run_size = gather_run_at(spelling, dtype, rest.data(), element, most, run); run_size > 0) {
      done.numbers += run_size;
      done.used += run_size * number.size;
      continue;
    }
    store(*bits, width, element);
    ++done.numbers;
    done.used += number.size;
  }
  return done;
}

}  // namespace heft::format
