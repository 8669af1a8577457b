#include "format/common_dtype.hpp"

#include <fmt/format.h>

#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t max_exact = std::uint64_t{1} << 53;  // of all integers up to there, f64 has each

}  // namespace

bool is_exact_in_f64(NumberKind kind, std::uint64_t bits) noexcept {
  // Shifted up by the bound, both signs are one range; integers over INT64_MAX are of the other kind.
  return kind == NumberKind::integer ? bits + max_exact <= 2 * max_exact : bits <= max_exact;
}

void CommonDType::add(NumberKind kind, std::uint64_t bits, std::uint64_t count) noexcept {
  const bool is_boolean = kind == NumberKind::boolean;
  if (count_ == 0) starts_with_boolean_ = is_boolean;
  if (is_boolean != starts_with_boolean_ && !odd_) odd_ = count_;
  reals32_ |= kind == NumberKind::real32;
  reals64_ |= kind == NumberKind::real64;
  if (kind == NumberKind::integer || kind == NumberKind::unsigned_integer) {
    integers_ = true;
    negative_ |= kind == NumberKind::integer && static_cast<std::int64_t>(bits) < 0;
    over_i64_ |= kind == NumberKind::unsigned_integer && bits > INT64_MAX;
    if (!is_exact_in_f64(kind, bits) && !large_) large_ = count_;
  }
  count_ += count;
}

void CommonDType::append(const CommonDType& more) noexcept {
  if (more.count_ == 0) return;
  if (count_ == 0) starts_with_boolean_ = more.starts_with_boolean_;
  if (!odd_ && more.starts_with_boolean_ != starts_with_boolean_) odd_ = count_;
  if (!odd_ && more.odd_) odd_ = count_ + *more.odd_;
  if (!large_ && more.large_) large_ = count_ + *more.large_;
  integers_ |= more.integers_;
  reals32_ |= more.reals32_;
  reals64_ |= more.reals64_;
  over_i64_ |= more.over_i64_;
  negative_ |= more.negative_;
  count_ += more.count_;
}

std::optional<DType> CommonDType::find() const noexcept {
  if (odd_ || (is_mixed() && large_) || (!is_mixed() && over_i64_ && negative_)) return std::nullopt;
  if (starts_with_boolean_) return DType::boolean;
  if (integers_ && !is_mixed()) return over_i64_ ? DType::u64 : DType::i64;
  return reals32_ && !reals64_ && !integers_ ? DType::f32 : DType::f64;
}

DType CommonDType::require() const {
  if (const std::optional<DType> dtype = find()) return *dtype;
  if (odd_)
    throw Error(ErrorCode::type_mismatch,
                fmt::format("expected a list of numbers of one kind, item {} is another", *odd_));
  if (is_mixed())
    throw Error(
        ErrorCode::type_mismatch,
        fmt::format("expected integers up to 2^53 beside reals, so that each is exact as f64, item {} is beyond",
                    *large_));
  throw Error(ErrorCode::out_of_range, "expected integers of 64 bits, with a sign or without");
}

}  // namespace heft::format
