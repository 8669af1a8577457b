// format/common_dtype.hpp: the dtype of the elements of a list of numbers, of any encoding.
//
//   booleans             boolean
//   integers             i64; u64 if one is over INT64_MAX and none is negative
//   reals                f64; f32 if each has 32 bits
//   integers and reals   f64, if no integer is beyond 2^53: each is exact as f64
//
// Any other list has no dtype: no element is ever another number than the one in the file.
#pragma once

#include <cstdint>
#include <optional>

#include "format/msgpack/numbers.hpp"
#include "heft/dtype.hpp"

namespace heft::format {

/// Returns true for an integer, in 64 bits of two's complement if `kind` is `integer`, from -2^53 to 2^53.
[[nodiscard]] bool is_exact_in_f64(NumberKind kind, std::uint64_t bits) noexcept;

/// Determines the dtype of a list from its numbers, which are added in their order.
class CommonDType {
 public:
  /// Adds `count` numbers of one kind, which is not `other`. `bits` are those of the first (SpelledNumber::bits); the
  /// others have its sign, and are up to 2^53 if it is.
  void add(NumberKind kind, std::uint64_t bits, std::uint64_t count = 1) noexcept;
  /// Adds the numbers of another list behind those of this one.
  void append(const CommonDType& more) noexcept;

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  /// Returns true for a list of integers and reals.
  [[nodiscard]] bool is_mixed() const noexcept { return integers_ && (reals32_ || reals64_); }
  /// Returns the dtype; nothing if there is none. An empty list has f64.
  [[nodiscard]] std::optional<DType> find() const noexcept;
  /// Returns the dtype. Throws Error{type_mismatch}, which contains the position of a number, and Error{out_of_range} for
  /// integers that fit no type of 64 bits.
  [[nodiscard]] DType require() const;

 private:
  bool starts_with_boolean_ = false;
  bool integers_ = false;
  bool reals32_ = false;
  bool reals64_ = false;
  bool over_i64_ = false;
  bool negative_ = false;
  std::uint64_t count_ = 0;
  std::optional<std::uint64_t> odd_;    // the first boolean among other numbers, or the reverse
  std::optional<std::uint64_t> large_;  // the first integer beyond 2^53
};

}  // namespace heft::format
