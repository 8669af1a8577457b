// format/number_segments.hpp: lists of numbers, as values, that MessagePack, CBOR and pickles spell one by one. They
// are stepped over when a file is opened: only the places of their numbers are kept, 24 bytes for each thousand.
//
//   MessagePack: see msgpack/numbers.hpp
//   CBOR     00..1b, 20..3b  integers, of 0 to 8 bytes, big-endian; the second group is -1 - n
//            f9 fa fb        a real of 16, 32 or 64 bits         f4, f5   a boolean
//   pickle   K u8 | M u16 | J i32 | 8a n (n bytes)               integers, little-endian
//            G f64                                               a real, big-endian
//
// All choose the width of an integer by its value, and CBOR that of a real as well, so that the widths of a list say
// nothing of its dtype (common_dtype.hpp). A real of MessagePack has the width of its type: only there, kinds include
// real32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "core/table.hpp"
#include "format/common_dtype.hpp"
#include "format/msgpack/numbers.hpp"

namespace heft::format {

enum class Spelling : std::uint8_t { msgpack, cbor, pickle };

/// One number.
struct SpelledNumber {
  /// boolean, integer, unsigned_integer (over INT64_MAX only), real64, or real32 in MessagePack; `other` for anything
  /// else.
  NumberKind kind = NumberKind::other;
  std::uint32_t size = 0;  ///< Bytes with its head. Over those given: the number is incomplete, its bits are not set.
  std::uint64_t bits = 0;  ///< 0 or 1, two's complement, or the bits of the real.
};

/// Decodes the number at the front of `from`, which must not be empty.
[[nodiscard]] SpelledNumber spelled_number(Spelling spelling, std::span<const std::byte> from) noexcept;

/// The maximum of SpelledNumber::size.
inline constexpr std::uint32_t max_spelled_bytes = 11;

/// Numbers that follow each other without a gap.
struct NumberSegment {
  std::uint64_t first = 0;   ///< Position of the first number in the list.
  std::uint64_t begin = 0;   ///< Its offset.
  std::uint32_t size = 0;    ///< Bytes of the numbers.
  std::uint32_t stride = 0;  ///< Bytes of each number; 0: they differ.
};

/// The places of the numbers of one list, and their common dtype.
class SegmentedNumbers {
 public:
  /// Numbers of a segment, few enough to step over for an access to one.
  static constexpr std::uint64_t max_segment = 1024;

  /// Charges the segments to `budget`, which can be null.
  SegmentedNumbers(Spelling spelling, std::shared_ptr<core::MetadataBudget> budget) noexcept
      : spelling_(spelling), segments_(std::move(budget)) {}

  /// Adds whole numbers at the front of `bytes`, which lie at `offset`, up to `count`. Returns their bytes: fewer than
  /// given after `count` numbers, at an item that is not a number, and before an incomplete number.
  std::size_t step(std::span<const std::byte> bytes, std::uint64_t offset, std::uint64_t count);
  /// Adds the numbers of another list behind those of this one.
  void append(const SegmentedNumbers& more);

  [[nodiscard]] Spelling spelling() const noexcept { return spelling_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return dtype_.count(); }
  [[nodiscard]] const core::Table<NumberSegment>& segments() const noexcept { return segments_; }
  /// Returns the index of the segment that contains number `number` < size().
  [[nodiscard]] std::size_t segment_of(std::uint64_t number) const noexcept;
  /// Returns how many numbers a segment has.
  [[nodiscard]] std::uint64_t count_of(std::size_t segment) const noexcept;

  /// Returns the dtype of the elements, if there is one.
  [[nodiscard]] const CommonDType& dtype() const noexcept { return dtype_; }

 private:
  void add(const SpelledNumber& number, std::uint64_t count, std::uint64_t offset);

  Spelling spelling_;
  CommonDType dtype_;
  core::Table<NumberSegment> segments_;
};

/// gather_numbers() for the numbers of such a list, to elements of its dtype, which is `dtype`.
Gathered gather_spelled(const SegmentedNumbers& numbers, DType dtype, std::span<const std::byte> from,
                        std::uint64_t offset, std::byte* to, std::uint64_t count, GatherRun run);

}  // namespace heft::format
