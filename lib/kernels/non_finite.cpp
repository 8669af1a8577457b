// Counts elements that are not finite. Compiled once for each target by foreach_target.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/non_finite.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which sets what highway.h reads.
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/non_finite.hpp"

HWY_BEFORE_NAMESPACE();
namespace heft::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Elements that share one test and one branch: finite ones, nearly all, cost an And and a Max.
constexpr std::size_t block_bytes = 4096;

// The bits of an element without its sign: greater than `infinity`, which has all bits of the exponent, for NaN.
template <class Bits>
Bits magnitude_at(const std::byte* elements, std::size_t index) {
  Bits bits;
  std::memcpy(&bits, elements + index * sizeof bits, sizeof bits);
  return static_cast<Bits>(bits & std::numeric_limits<Bits>::max());
}

template <class Bits>
NonFinite count_one_by_one(const std::byte* elements, std::size_t count, Bits infinity) {
  NonFinite found;
  for (std::size_t i = 0; i < count; ++i) {
    const Bits magnitude = magnitude_at<Bits>(elements, i);
    found.nan += magnitude > infinity;
    found.inf += magnitude == infinity;
  }
  return found;
}

// As magnitudes are not negative, they are compared as signed integers, for which every target has instructions.
template <class Bits>
NonFinite count_real(const std::byte* elements, std::size_t count, Bits infinity) {
  const hn::ScalableTag<Bits> d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t block = block_bytes / sizeof(Bits);  // lanes are a power of two that divides it
  const auto sign_off = hn::Set(d, std::numeric_limits<Bits>::max());
  const auto limit = hn::Set(d, infinity);
  const auto* from = reinterpret_cast<const Bits*>(elements);
  NonFinite found;
  std::size_t done = 0;
  for (; done + block <= count; done += block) {
    auto largest = hn::Zero(d);
    for (std::size_t i = 0; i < block; i += lanes)
      largest = hn::Max(largest, hn::And(hn::LoadU(d, from + done + i), sign_off));
    if (hn::AllTrue(d, hn::Lt(largest, limit))) continue;
    for (std::size_t i = 0; i < block; i += lanes) {
      const auto magnitude = hn::And(hn::LoadU(d, from + done + i), sign_off);
      found.nan += hn::CountTrue(d, hn::Gt(magnitude, limit));
      found.inf += hn::CountTrue(d, hn::Eq(magnitude, limit));
    }
  }
  const NonFinite rest = count_one_by_one(elements + done * sizeof(Bits), count - done, infinity);
  return {found.nan + rest.nan, found.inf + rest.inf};
}

template <class Bits>
NonFinite count_complex(const std::byte* elements, std::size_t count, Bits infinity) {
  constexpr std::size_t block = block_bytes / (2 * sizeof(Bits));
  NonFinite found;
  for (std::size_t done = 0; done < count; done += block) {
    const std::size_t some = std::min(block, count - done);
    const std::byte* const from = elements + done * 2 * sizeof(Bits);
    // The parts are counted by vectors; an element with two such parts counts once, which only pairs show.
    const NonFinite parts = count_real(from, 2 * some, infinity);
    if (parts.nan + parts.inf == 0) continue;
    for (std::size_t i = 0; i < some; ++i) {
      const Bits magnitude = std::max(magnitude_at<Bits>(from, 2 * i), magnitude_at<Bits>(from, 2 * i + 1));
      found.nan += magnitude > infinity;
      found.inf += magnitude == infinity;
    }
  }
  return found;
}

NonFinite CountNonFinite(DType dtype, const std::byte* elements, std::size_t count) {
  constexpr std::int32_t f32_infinity = 0x7F800000;
  constexpr std::int64_t f64_infinity = 0x7FF0000000000000;
  switch (dtype) {
    case DType::f16: return count_real<std::int16_t>(elements, count, 0x7C00);
    case DType::bf16: return count_real<std::int16_t>(elements, count, 0x7F80);
    case DType::f32: return count_real<std::int32_t>(elements, count, f32_infinity);
    case DType::f64: return count_real<std::int64_t>(elements, count, f64_infinity);
    case DType::c64: return count_complex<std::int32_t>(elements, count, f32_infinity);
    default: return count_complex<std::int64_t>(elements, count, f64_infinity);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heft::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heft::kernels {

HWY_EXPORT(CountNonFinite);

bool has_non_finite_kernel(DType dtype) noexcept {
  switch (dtype) {
    case DType::f16:
    case DType::bf16:
    case DType::f32:
    case DType::f64:
    case DType::c64:
    case DType::c128: return true;
    default: return false;
  }
}

NonFinite count_non_finite(DType dtype, const std::byte* elements, std::size_t count) noexcept {
  return HWY_DYNAMIC_DISPATCH(CountNonFinite)(dtype, elements, count);
}

}  // namespace heft::kernels
#endif
