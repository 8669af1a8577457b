// format/msgpack/numbers.hpp: numbers that MessagePack spells one by one, each after a byte that gives its kind and
// width: stepped over, and gathered into packed memory.
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

/// A decoded head. `width` bytes of the value follow it; a number of width 0 is in the head itself.
struct NumberHead {
  NumberKind kind = NumberKind::other;
  std::uint8_t width = 0;
  std::int8_t value = 0;       ///< Value of a number of width 0.
  std::uint8_t same_bits = 0;  ///< Heads that agree in these bits are of the same kind and width.
};

/// Decodes the first byte of a number; kind `other` for anything else.
[[nodiscard]] NumberHead number_head(std::byte head) noexcept;

/// Returns the value of the number at `at`: the bits of a real, 0 or 1, an unsigned integer, or an integer in 64 bits
/// of two's complement.
[[nodiscard]] std::uint64_t number_bits(NumberHead head, const std::byte* at) noexcept;

/// Returns how many of the `count` numbers at `from` have heads that agree with the first in NumberHead::same_bits.
/// Requires memory of `count` numbers of the first one's width.
[[nodiscard]] std::size_t run_of_heads(const std::byte* from, std::size_t count) noexcept;
/// The same for numbers of any encoding with a value of `width` bytes (0, 1, 2, 4 or 8) after a head of one byte.
[[nodiscard]] std::size_t run_of_heads(const std::byte* from, std::size_t count, std::size_t width,
                                       std::uint8_t same_bits) noexcept;

/// A list that was stepped over: its length is checked, its numbers are not decoded.
struct NumberSteps {
  /// Numbers between two marks.
  static constexpr std::uint64_t mark_step = 4096;

  std::uint64_t begin = 0;  ///< Offset of the first number's head.
  std::uint64_t end = 0;    ///< Offset of the byte after the last number.
  std::uint64_t count = 0;
  std::uint32_t stride = 0;                 ///< Bytes of each number with its head; 0: they differ.
  std::vector<std::uint64_t> marks;         ///< If they differ: offsets of numbers 0, mark_step, 2 * mark_step...
  NumberKind kind = NumberKind::other;      ///< Kind of the first; `integer` if some of a list of integers have a sign.
  bool fits_u16 = true;                     ///< All are unsigned integers up to 65535.
  std::optional<std::uint64_t> odd;         ///< Offset of the first number of another kind than those before it.
  NumberKind odd_kind = NumberKind::other;  ///< Kind of that number.

  [[nodiscard]] std::uint64_t table_bytes() const noexcept { return marks.capacity() * sizeof(std::uint64_t); }
};

/// A private copy of the bytes of a list, charged to the metadata budget.
struct SpelledNumbers {
  explicit SpelledNumbers(std::shared_ptr<core::MetadataBudget> budget) noexcept : charge(std::move(budget)) {}

  /// Throws Error{limit_exceeded} if the budget is used up.
  void append(std::span<const std::byte> more);

  std::vector<std::byte> bytes;
  core::MetadataCharge charge;
};

/// Steps over `count` numbers that are fed in parts. Heads in runs of equal ones are compared many at a time.
class NumberStepper {
 public:
  NumberStepper(std::uint64_t begin, std::uint64_t count);

  /// Steps over the whole numbers in `bytes`, which continue the previous ones. Returns the bytes stepped over: fewer
  /// than given if the list ends, at an item that is not a number, and before an incomplete number.
  std::size_t feed(std::span<const std::byte> bytes);
  [[nodiscard]] bool is_done() const noexcept { return done_ == steps_.count; }
  /// Returns true if an item is not a number.
  [[nodiscard]] bool met_other() const noexcept { return met_other_; }
  /// Returns the steps. Requires is_done().
  [[nodiscard]] NumberSteps release();

 private:
  std::size_t feed_u16(std::span<const std::byte> bytes);
  void note_kind(NumberHead head, const std::byte* at);
  void advance(std::uint64_t numbers, std::uint32_t bytes_each);
  void differ();

  NumberSteps steps_;
  std::uint64_t done_ = 0;
  std::uint64_t at_;
  std::uint64_t next_mark_ = 0;  // number of the next mark, once widths differ
  bool met_other_ = false;
};

/// Gathers numbers that all have the head `*from` and `width` bytes (1, 2, 4 or 8) after it: each value in host order
/// to `to`, packed. Returns how many were gathered: `count`, or those before the first of another head.
using GatherRun = std::size_t (*)(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) noexcept;

/// The result of gather_numbers().
struct Gathered {
  std::size_t used = 0;  ///< Bytes of `from`.
  std::uint64_t numbers = 0;
};

/// Converts up to `count` numbers at `from` to packed elements of `dtype`: f32 and f64 from reals of that width,
/// booleans, integers from integers that fit, f16 and bf16 from unsigned integers, their bits. Stops before an
/// incomplete number.
///
/// Throws Error{corrupt} for an integer that does not fit, Error{changed_on_disk} for an item of another kind than the
/// list had when it was stepped over. `offset` is the offset of `from`, for errors.
Gathered gather_numbers(DType dtype, std::span<const std::byte> from, std::uint64_t offset, std::byte* to,
                        std::uint64_t count, GatherRun run);

/// Returns "a real number", "an unsigned integer"...
[[nodiscard]] std::string_view name(NumberKind kind) noexcept;

}  // namespace heft::format
