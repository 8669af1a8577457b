#include "format/msgpack/numbers.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/endian.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

// Returns the decoded form of every first byte. Bytes that start no number stay `other`.
constexpr std::array<NumberHead, 256> make_heads() {
  using enum NumberKind;
  std::array<NumberHead, 256> heads{};
  for (int i = 0; i < 128; ++i)
    // The positive fixint has its value in the lower 7 bits, the negative one in the lower 5; masks 0x80 and 0xE0
    // leave the bits that distinguish them from other heads.
    heads[static_cast<std::size_t>(i)] = {unsigned_integer, 0, static_cast<std::int8_t>(i), 0x80};
  for (int i = 0xE0; i < 256; ++i)
    heads[static_cast<std::size_t>(i)] = {integer, 0, static_cast<std::int8_t>(i - 256), 0xE0};
  // false and true differ in the last bit, so a run can mix them.
  heads[0xC2] = {boolean, 0, 0, 0xFE};
  heads[0xC3] = {boolean, 0, 1, 0xFE};
  heads[0xCA] = {real32, 4, 0, 0xFF};
  heads[0xCB] = {real64, 8, 0, 0xFF};
  for (std::size_t i = 0; i < 4; ++i) {
    heads[0xCC + i] = {unsigned_integer, static_cast<std::uint8_t>(1u << i), 0, 0xFF};
    heads[0xD0 + i] = {integer, static_cast<std::uint8_t>(1u << i), 0, 0xFF};
  }
  return heads;
}

constinit const std::array<NumberHead, 256> heads = make_heads();

// ---- runs of heads ----

// Sixteen bytes that are compared at once, in a vector register if the processor has one.
using Block = std::uint64_t __attribute__((vector_size(16)));
constexpr std::size_t block_heads = 16;

Block load(const std::byte* from) noexcept {
  Block block;
  // Numbers lie at any address; memcpy compiles to one unaligned load.
  std::memcpy(&block, from, sizeof block);
  return block;
}

// Returns a mask of the bytes that are heads in `stride` blocks, where sixteen heads lie `stride` bytes apart.
template <std::size_t stride>
constexpr std::array<std::byte, stride * sizeof(Block)> head_places() {
  std::array<std::byte, stride * sizeof(Block)> places{};
  for (std::size_t head = 0; head < block_heads; ++head) places[head * stride] = std::byte{0xFF};
  return places;
}

// The number of the first byte in memory that is not 0, of a word in which there is one.
std::size_t first_byte(std::uint64_t word) noexcept {
  const int bits = std::endian::native == std::endian::little ? std::countr_zero(word) : std::countl_zero(word);
  return static_cast<std::size_t>(bits) / 8;
}

// run_of_heads() for numbers of `stride` bytes with their head.
template <std::size_t stride>
std::size_t run_of(const std::byte* from, std::size_t count, std::uint8_t same_bits) noexcept {
  static constexpr auto places = head_places<stride>();
  constexpr std::uint64_t each = 0x0101010101010101;
  const Block bits{same_bits * each, same_bits * each};
  const std::uint64_t head = std::to_integer<std::uint64_t>(from[0]) * each;
  Block compared[stride];  // of each block, the bits of heads
  // The mask zeroes values between heads and the bits in which heads of one kind can differ.
  for (std::size_t i = 0; i < stride; ++i) compared[i] = load(places.data() + i * sizeof(Block)) & bits;
  std::size_t done = 0;
  // Sixteen heads lie in `stride` blocks of 16 bytes, which are inside the memory of `count` numbers. The result of
  // the blocks is combined first, so that the common case has one branch for sixteen numbers.
  for (; done + block_heads <= count; done += block_heads) {
    const auto differs = [&](std::size_t i) {
      return (load(from + done * stride + i * sizeof(Block)) ^ Block{head, head}) & compared[i];
    };
    Block any{};
    for (std::size_t i = 0; i < stride; ++i) any |= differs(i);
    if ((any[0] | any[1]) == 0) continue;
    // Selected without branches: where a run ends is not predictable.
    std::uint64_t word = 0;
    std::size_t at = 0;
    // From the last word to the first, so that the first that differs remains.
    for (std::size_t i = 2 * stride; i-- > 0;) {
      const std::uint64_t next = differs(i / 2)[i % 2];
      word = next != 0 ? next : word;
      at = next != 0 ? i * sizeof word : at;
    }
    return done + (at + first_byte(word)) / stride;
  }
  // The last numbers, fewer than a block has.
  const auto same = [&](std::size_t i) {
    return ((from[i * stride] ^ from[0]) & std::byte{same_bits}) == std::byte{0};
  };
  while (done < count && same(done)) ++done;
  return done;
}

// Numbers that were stepped over, and their bytes.
struct Stepped {
  std::size_t numbers = 0;
  std::size_t used = 0;
};

// Unsigned integers of up to 16 bits, as bits of f16 and bf16 are spelled: most take two bytes after a head of 0xCD,
// those below 256 one or two bytes in all.
constexpr std::byte u16_head{0xCD};
constexpr std::byte u8_head{0xCC};
constexpr std::size_t u16_size = 3;

bool is_up_to_u16(NumberHead head) noexcept { return head.kind == NumberKind::unsigned_integer && head.width <= 2; }

// Returns the bytes of a number below 256 by its head; 0 for any other head.
std::size_t short_size(std::byte head) noexcept {
  return (head == u8_head ? 2u : 0u) + (head < std::byte{0x80} ? 1u : 0u);
}

// Steps over up to `count` such numbers. Stops before another item, and before an incomplete number.
Stepped step_u16(std::span<const std::byte> bytes, std::size_t count) noexcept {
  Stepped stepped;
  while (stepped.numbers < count) {
    const std::byte* const at = bytes.data() + stepped.used;
    const std::size_t left = bytes.size() - stepped.used;
    // Values from 256 on, which most bits of floats are, go in blocks; the run ends at the first other head.
    if (left > 0 && *at == u16_head) {
      const std::size_t run = run_of<u16_size>(at, std::min(count - stepped.numbers, left / u16_size), 0xFF);
      // Fewer than three bytes are left: an incomplete number.
      if (run == 0) break;
      stepped.numbers += run;
      stepped.used += run * u16_size;
      continue;
    }
    const std::size_t size = left > 0 ? short_size(*at) : 0;
    // Another kind of number, or one that is incomplete.
    if (size == 0 || size > left) break;
    ++stepped.numbers;
    stepped.used += size;
  }
  return stepped;
}

// Returns the big-endian bytes of a value as an unsigned number.
std::uint64_t value_bits(const std::byte* at, std::size_t width) noexcept {
  switch (width) {
    case 1: return std::to_integer<std::uint64_t>(*at);
    case 2: return core::load_be<std::uint16_t>(at);
    case 4: return core::load_be<std::uint32_t>(at);
    default: return core::load_be<std::uint64_t>(at);
  }
}

// Returns the value of `width` bytes in two's complement.
std::int64_t signed_value(std::uint64_t bits, std::size_t width) noexcept {
  const unsigned unused = 64 - 8 * static_cast<unsigned>(width);
  // The shift to the left moves the sign to bit 63; the arithmetic shift back copies it down.
  return static_cast<std::int64_t>(bits << unused) >> unused;
}

bool is_integer(NumberKind kind) noexcept {
  return kind == NumberKind::unsigned_integer || kind == NumberKind::integer;
}

// Finds the head that occurred twice in a row last: it usually occurs again, also after numbers with another head.
class Runs {
 public:
  void meet(std::byte head) noexcept {
    // One other number does not change the usual head: in a list of f16 bits, some values are below 256 and have a
    // short head.
    if (head == last_) usual_ = head;
    last_ = head;
  }
  [[nodiscard]] bool goes_on(std::byte head) const noexcept { return head == usual_; }

 private:
  static constexpr std::byte no_head{0xC1};
  std::byte last_ = no_head;
  std::byte usual_ = no_head;
};

// ---- gathering ----

// Returns true if the element is exactly the value's bytes, so that only the head is checked.
bool is_direct(NumberHead head, DType dtype) noexcept {
  switch (dtype) {
    case DType::f32: return head.kind == NumberKind::real32;
    case DType::f64: return head.kind == NumberKind::real64;
    case DType::f16:
    case DType::bf16:
    case DType::u16: return head.kind == NumberKind::unsigned_integer && head.width == 2;
    case DType::u8:
    case DType::u32:
    case DType::u64: return head.kind == NumberKind::unsigned_integer && head.width == info(dtype).block_bytes;
    case DType::i8:
    case DType::i16:
    case DType::i32:
    case DType::i64: return head.kind == NumberKind::integer && head.width == info(dtype).block_bytes;
    default: return false;
  }
}

// Returns true if elements of `dtype` can be made from numbers of that kind.
bool is_of(NumberKind kind, DType dtype) noexcept {
  switch (dtype) {
    case DType::f32: return kind == NumberKind::real32;
    case DType::f64: return kind == NumberKind::real64;
    case DType::boolean: return kind == NumberKind::boolean;
    default: return is_integer(kind);
  }
}

[[noreturn]] void fail_kind(std::byte head, DType dtype, std::uint64_t offset) {
  throw Error(ErrorCode::changed_on_disk,
              fmt::format("a list of numbers: expected another number of a list of {}, as it was when the file was "
                          "opened, found the byte {:02x}",
                          name(dtype), std::to_integer<unsigned>(head)),
              {.offset = offset});
}

[[noreturn]] void fail_range(DType dtype, std::uint64_t offset) {
  throw Error(ErrorCode::corrupt,
              fmt::format("a list of numbers: expected integers that fit {}, found one that does not", name(dtype)),
              {.offset = offset});
}

// Stores an element in the host's byte order.
template <class T>
void put(std::byte* to, T value) noexcept {
  std::memcpy(to, &value, sizeof value);
}

// Stores an element. Returns false if the value does not fit it.
template <class T>
bool store_unsigned_integer(std::byte* to, std::uint64_t value) noexcept {
  put(to, static_cast<T>(value));
  return value <= static_cast<std::uint64_t>(std::numeric_limits<T>::max());
}

// The same for a value with a sign.
template <class T>
bool store_integer(std::byte* to, std::int64_t value) noexcept {
  put(to, static_cast<T>(value));
  // Stored before it is checked: the caller discards the element of a number that does not fit.
  if (value < 0) return std::is_signed_v<T> && value >= static_cast<std::int64_t>(std::numeric_limits<T>::min());
  return static_cast<std::uint64_t>(value) <= static_cast<std::uint64_t>(std::numeric_limits<T>::max());
}

// Converts one number to one element. Returns false if it does not fit.
template <class T>
bool store(NumberHead head, const std::byte* at, std::byte* to) noexcept {
  if (head.width == 0) return store_integer<T>(to, head.value);
  const std::uint64_t bits = value_bits(at + 1, head.width);
  if (head.kind == NumberKind::integer) return store_integer<T>(to, signed_value(bits, head.width));
  return store_unsigned_integer<T>(to, bits);
}

// Gathers runs of equal heads together, and other numbers one by one.
template <class T>
Gathered gather_as(DType dtype, std::span<const std::byte> from, std::uint64_t offset, std::byte* to,
                   std::uint64_t count, GatherRun run) {
  Gathered done;
  Runs runs;
  while (done.numbers < count && done.used < from.size()) {
    const std::byte* const at = from.data() + done.used;
    const NumberHead head = heads[std::to_integer<std::size_t>(*at)];
    // All heads were checked when the list was stepped over. Another kind now means that the file has changed.
    if (!is_of(head.kind, dtype)) fail_kind(*at, dtype, offset + done.used);
    const std::size_t size = std::size_t{1} + head.width;
    // The rest of the number is in the caller's next piece.
    if (from.size() - done.used < size) break;
    std::byte* const element = to + done.numbers * sizeof(T);
    runs.meet(*at);
    if (runs.goes_on(*at) && is_direct(head, dtype)) {
      // Whole numbers of this width in `from`: the bound of what the kernel reads.
      const std::uint64_t room = std::min<std::uint64_t>(count - done.numbers, (from.size() - done.used) / size);
      const std::size_t gathered = run(head.width, at, element, static_cast<std::size_t>(room));
      done.numbers += gathered;
      done.used += gathered * size;
      continue;
    }
    if (!store<T>(head, at, element)) fail_range(dtype, offset + done.used);
    ++done.numbers;
    done.used += size;
  }
  return done;
}

}  // namespace

NumberHead number_head(std::byte head) noexcept { return heads[std::to_integer<std::size_t>(head)]; }

std::uint64_t number_bits(NumberHead head, const std::byte* at) noexcept {
  if (head.width == 0) return static_cast<std::uint64_t>(std::int64_t{head.value});
  const std::uint64_t bits = value_bits(at + 1, head.width);
  return head.kind == NumberKind::integer ? static_cast<std::uint64_t>(signed_value(bits, head.width)) : bits;
}

std::size_t run_of_heads(const std::byte* from, std::size_t count) noexcept {
  if (count == 0) return 0;
  const NumberHead head = number_head(*from);
  return run_of_heads(from, count, head.width, head.same_bits);
}

std::size_t run_of_heads(const std::byte* from, std::size_t count, std::size_t width, std::uint8_t same_bits) noexcept {
  switch (width) {
    case 0: return run_of<1>(from, count, same_bits);
    case 1: return run_of<2>(from, count, same_bits);
    case 2: return run_of<3>(from, count, same_bits);
    case 4: return run_of<5>(from, count, same_bits);
    default: return run_of<9>(from, count, same_bits);
  }
}

void SpelledNumbers::append(std::span<const std::byte> more) {
  charge.add(more.size());
  bytes.insert(bytes.end(), more.begin(), more.end());
}

NumberStepper::NumberStepper(std::uint64_t begin, std::uint64_t count) : at_(begin) {
  steps_.begin = begin;
  steps_.count = count;
}

std::size_t NumberStepper::feed(std::span<const std::byte> bytes) {
  std::size_t used = 0;
  Runs runs;
  while (!is_done() && used < bytes.size()) {
    const std::byte* const at = bytes.data() + used;
    const NumberHead head = number_head(*at);
    if (head.kind == NumberKind::other) {
      met_other_ = true;
      break;
    }
    const std::uint32_t size = 1u + head.width;
    if (bytes.size() - used < size) break;
    // The first number of a run decides for all: numbers of a run have the same kind and width. Where the value
    // matters too, the run has length 1, see below.
    note_kind(head, at);
    // Bits of f16 are spelled in one, two or three bytes in no order, so that runs of one width are short. Once it is
    // known that widths differ, all three are stepped over together.
    if (steps_.stride == 0 && steps_.kind == NumberKind::unsigned_integer && is_up_to_u16(head)) {
      used += feed_u16(bytes.subspan(used));
      continue;
    }
    runs.meet(*at);
    // Numbers whose values are looked at go one by one.
    const bool looked_at =
        steps_.fits_u16 && is_integer(head.kind) && (head.kind == NumberKind::integer || head.width > 2);
    // Runs pay off where the head is likely to repeat. Numbers in their head are compared by kind only, so their runs
    // are long.
    const bool by_run = head.width == 0 || (runs.goes_on(*at) && !looked_at);
    const std::size_t room = by_run ? (bytes.size() - used) / size : 1;
    const std::size_t numbers =
        by_run ? run_of_heads(at, static_cast<std::size_t>(std::min<std::uint64_t>(steps_.count - done_, room))) : 1;
    advance(numbers, size);
    used += numbers * size;
  }
  return used;
}

// Steps over unsigned integers up to 65535 of all three widths, up to the next mark: they change nothing in the steps
// of a list whose widths differ. Returns the bytes stepped over; at least one number, which the caller has seen.
std::size_t NumberStepper::feed_u16(std::span<const std::byte> bytes) {
  // The mark of a number that starts a step; `wanted` ends before the next one, so none is missed.
  if (next_mark_ == done_) {
    steps_.marks.push_back(at_);
    next_mark_ += NumberSteps::mark_step;
  }
  const std::uint64_t wanted = std::min(next_mark_, steps_.count) - done_;
  const Stepped stepped = step_u16(bytes, static_cast<std::size_t>(wanted));
  done_ += stepped.numbers;
  at_ += stepped.used;
  return stepped.used;
}

void NumberStepper::note_kind(NumberHead head, const std::byte* at) {
  const bool is_first = done_ == 0;
  // Signed and unsigned integers may be mixed: writers choose the shortest form for each value.
  const bool agrees = is_first || steps_.kind == head.kind || (is_integer(steps_.kind) && is_integer(head.kind));
  // Not an error here: callers that accept lists of any values read this one item by item.
  if (!agrees && !steps_.odd) {
    steps_.odd = at_;
    steps_.odd_kind = head.kind;
  }
  if (is_first || (agrees && head.kind == NumberKind::integer)) steps_.kind = head.kind;
  if (!is_integer(head.kind) || !steps_.fits_u16) return;
  if (head.kind == NumberKind::unsigned_integer && head.width <= 2) return;
  // A negative fixint is never in range, so its value is not decoded. A signed form of a small positive value is.
  const std::uint64_t bits = head.width == 0 ? UINT64_MAX : value_bits(at + 1, head.width);
  const bool is_negative = head.kind == NumberKind::integer && (head.width == 0 || signed_value(bits, head.width) < 0);
  steps_.fits_u16 = !is_negative && bits <= UINT16_MAX;
}

void NumberStepper::advance(std::uint64_t numbers, std::uint32_t bytes_each) {
  // A list of one width needs no marks: the offset of each number is computed. Most lists are such.
  if (done_ == 0) steps_.stride = bytes_each;
  if (steps_.stride != bytes_each && steps_.stride != 0) differ();
  if (steps_.stride == 0)
    // A run can pass several marks; its numbers have one width.
    for (; next_mark_ < done_ + numbers; next_mark_ += NumberSteps::mark_step)
      steps_.marks.push_back(at_ + (next_mark_ - done_) * bytes_each);
  done_ += numbers;
  at_ += numbers * bytes_each;
}

// Adds the marks of the numbers so far, which had one width and needed none.
void NumberStepper::differ() {
  for (; next_mark_ < done_; next_mark_ += NumberSteps::mark_step)
    steps_.marks.push_back(steps_.begin + next_mark_ * steps_.stride);
  steps_.stride = 0;
}

NumberSteps NumberStepper::release() {
  steps_.end = at_;
  steps_.marks.shrink_to_fit();
  return std::move(steps_);
}

Gathered gather_numbers(DType dtype, std::span<const std::byte> from, std::uint64_t offset, std::byte* to,
                        std::uint64_t count, GatherRun run) {
  // By the width of the element, because f16 and bf16 take the bits of a u16, f32 and f64 those of a u32 and u64.
  // Signed integers have types of their own for the check of the range.
  switch (info(dtype).block_bytes) {
    case 1:
      if (dtype == DType::i8) return gather_as<std::int8_t>(dtype, from, offset, to, count, run);
      return gather_as<std::uint8_t>(dtype, from, offset, to, count, run);
    case 2:
      if (dtype == DType::i16) return gather_as<std::int16_t>(dtype, from, offset, to, count, run);
      return gather_as<std::uint16_t>(dtype, from, offset, to, count, run);
    case 4:
      if (dtype == DType::i32) return gather_as<std::int32_t>(dtype, from, offset, to, count, run);
      return gather_as<std::uint32_t>(dtype, from, offset, to, count, run);
    default:
      if (dtype == DType::i64) return gather_as<std::int64_t>(dtype, from, offset, to, count, run);
      return gather_as<std::uint64_t>(dtype, from, offset, to, count, run);
  }
}

std::string_view name(NumberKind kind) noexcept {
  switch (kind) {
    case NumberKind::boolean: return "a boolean";
    case NumberKind::unsigned_integer: return "an unsigned integer";
    case NumberKind::integer: return "an integer";
    case NumberKind::real32: return "a real number of 32 bits";
    case NumberKind::real64: return "a real number of 64 bits";
    case NumberKind::other: break;
  }
  return "no number";
}

}  // namespace heft::format
