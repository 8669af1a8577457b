// format/msgpack/numbers.hpp: numbers that MessagePack spells one by one, each after a byte that gives its kind and width:
// stepped over, and gathered into packed memory.
//
//   00..7f, e0..ff  the value itself         c2, c3          a boolean
//   cc cd ce cf     u8 u16 u32 u64           d0 d1 d2 d3     i8 i16 i32 i64
//   ca cb           f32 f64                  what has more than one byte is big-endian
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "core/metadata_budget.hpp"
#include "heft/dtype.hpp"

namespace heft::format {

enum class NumberKind : std::uint8_t { other, boolean, unsigned_integer, integer, real32, real64 };

/// What a head says. `width` bytes of the value follow it; a number of width 0 is its own head.
struct NumberHead {
  NumberKind kind = NumberKind::other;
  std::uint8_t width = 0;
  std::int8_t value = 0;       ///< Of a number of width 0.
  std::uint8_t same_bits = 0;  ///< Heads that agree in these bits are of the same kind and width.
};

/// The number that begins with this byte; kind `other` for all that is no number.
[[nodiscard]] NumberHead number_head(std::byte head) noexcept;

/// The value of the number at `at`: the bits of a real, 0 or 1, an unsigned integer, or an integer in 64 bits of two's
/// complement.
[[nodiscard]] std::uint64_t number_bits(NumberHead head, const std::byte* at) noexcept;

/// The number of the numbers at `from`, `count` at most, whose heads agree with the first one's in
/// NumberHead::same_bits. All `count` of them, of the first one's width, lie in memory.
[[nodiscard]] std::size_t run_of_heads(const std::byte* from, std::size_t count) noexcept;

/// A list that was stepped over: its length is proven, its numbers are not made.
struct NumberSteps {
  /// Numbers between two marks.
  static constexpr std::uint64_t mark_step = 4096;

  std::uint64_t begin = 0;  ///< Offset of the first number's head.
  std::uint64_t end = 0;    ///< Offset of the byte after the last number.
  std::uint64_t count = 0;
  std::uint32_t stride = 0;             ///< Bytes of each number; 0: they differ.
  std::vector<std::uint64_t> marks;     ///< Where they differ: offsets of numbers 0, mark_step, 2 * mark_step...
  NumberKind kind = NumberKind::other;  ///< Of the first; integer when some naturals of a list of naturals have a sign.
  bool fits_u16 = true;                 ///< Naturals up to 65535 only.
  bool over_i64 = false;                ///< Some unsigned integer is over INT64_MAX.
  std::optional<std::uint64_t> odd;     ///< Offset of the first number that is of another kind than those before it ...
  NumberKind odd_kind = NumberKind::other;  ///< ... and its kind.

  /// Counts offsets so that the first number lies at `offset`.
  void move_to(std::uint64_t offset) noexcept;
  [[nodiscard]] std::uint64_t table_bytes() const noexcept { return marks.capacity() * sizeof(std::uint64_t); }
};

/// A private copy of the bytes that a list was stepped over in, counted in the budget of the metadata.
struct SpelledNumbers {
  explicit SpelledNumbers(std::shared_ptr<core::MetadataBudget> budget) noexcept : charge(std::move(budget)) {}

  /// Throws Error{limit_exceeded} when the budget does not have the bytes.
  void append(std::span<const std::byte> more);

  std::vector<std::byte> bytes;
  core::MetadataCharge charge;
};

/// Steps over `count` numbers that come in parts. Runs of equal heads are compared many at a time.
class NumberStepper {
 public:
  NumberStepper(std::uint64_t begin, std::uint64_t count);

  /// Steps over the whole numbers in `bytes`, which begin where the ones before ended. Returns the bytes stepped over:
  /// fewer than there are when the list ends, at what is no number, and before a number that is cut off.
  std::size_t feed(std::span<const std::byte> bytes);
  [[nodiscard]] bool is_done() const noexcept { return done_ == steps_.count; }
  /// True where an item is no number: the list is none of numbers.
  [[nodiscard]] bool met_other() const noexcept { return met_other_; }
  /// The steps, once is_done().
  [[nodiscard]] NumberSteps release();

 private:
  void note_kind(NumberHead head, const std::byte* at);
  void advance(std::uint64_t numbers, std::uint32_t bytes_each);
  void differ();

  NumberSteps steps_;
  std::uint64_t done_ = 0;
  std::uint64_t at_;
  std::uint64_t next_mark_ = 0;  // the number that the next mark is of, once they differ
  bool met_other_ = false;
};

/// Gathers numbers that all have the head `*from` and `width` bytes (1, 2, 4 or 8) after it: each value in host order
/// to `to`, packed. Returns how many were gathered: `count`, or those before the first of another head.
using GatherRun = std::size_t (*)(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) noexcept;

/// What gather_numbers() did.
struct Gathered {
  std::size_t used = 0;  ///< Bytes of `from`.
  std::uint64_t numbers = 0;
};

/// Makes up to `count` numbers that begin at `from` into packed elements of `dtype`: f32 and f64 of reals of that
/// width, booleans, integers of naturals and integers that fit, f16 and bf16 of naturals that are their bits. Stops
/// before a number that is cut off.
///
/// Throws Error{corrupt} for an integer that does not fit, Error{changed_on_disk} for an item of another kind than the
/// list had when it was stepped over; `offset` is that of `from`, for errors.
Gathered gather_numbers(DType dtype, std::span<const std::byte> from, std::uint64_t offset, std::byte* to,
                        std::uint64_t count, GatherRun run);

/// "a real number", "an unsigned integer"...
[[nodiscard]] std::string_view name(NumberKind kind) noexcept;

}  // namespace heft::format
