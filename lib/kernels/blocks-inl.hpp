// kernels/blocks-inl.hpp: what the kernels of ggml's blocks share: bytes in 32-bit lanes, and the walk over
// blocks.
//
// Included once for each target, as kernels_narrow-inl.hpp.
#if defined(HEFT_MATERIALIZE_KERNELS_BLOCKS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef HEFT_MATERIALIZE_KERNELS_BLOCKS_INL_HPP
#undef HEFT_MATERIALIZE_KERNELS_BLOCKS_INL_HPP
#else
#define HEFT_MATERIALIZE_KERNELS_BLOCKS_INL_HPP
#endif

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <hwy/highway.h>

#include "heft/dtype.hpp"
#include "kernels/dequant_scalar.hpp"
#include "kernels/narrow-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace heft::engine {
namespace HWY_NAMESPACE {
namespace {

using scalar::Block;
using scalar::f16_at;

using VecI = hn::Vec<I32>;
HWY_INLINE int lanes() { return static_cast<int>(hn::Lanes(F32())); }
HWY_INLINE VecI integer(int value) { return hn::Set(I32(), value); }
HWY_INLINE VecF splat(float value) { return hn::Set(F32(), value); }

HWY_INLINE VecI bytes_at(const std::uint8_t* from) {
  return hn::PromoteTo(I32(), hn::LoadU(hn::Rebind<std::uint8_t, F32>(), from));
}
HWY_INLINE VecI bytes_at(const std::int8_t* from) {
  return hn::PromoteTo(I32(), hn::LoadU(hn::Rebind<std::int8_t, F32>(), from));
}
HWY_INLINE VecF floats(VecI quants) { return hn::ConvertTo(F32(), quants); }
/// `value` in the lanes i whose bit i of `bits` is set, 0 in the others.
HWY_INLINE VecI where_set(std::uint32_t bits, int value) {
  const VecI masks = hn::Shl(integer(1), hn::Iota(I32(), 0));
  return hn::IfThenElseZero(hn::TestBit(integer(static_cast<int>(bits)), masks), integer(value));
}

/// The sign bit in the lanes whose bit is set.
HWY_INLINE VecF signs_in_lanes(std::uint32_t bits) {
  return hn::BitCast(F32(), where_set(bits, std::numeric_limits<std::int32_t>::min()));
}

/// bf16 of results of arithmetic, in the upper halves of the lanes. Their NaNs have no bits that rounding could carry
/// over: a scale's NaN is widened to the plain one.
HWY_INLINE VecU rounded_to_bf16(VecF value) {
  const VecU bits = as_bits(value);
  return hn::Add(hn::Add(bits, constant(0x7FFF)), hn::And(hn::ShiftRight<16>(bits), constant(1)));
}

/// Two vectors that follow each other.
template <class To>
HWY_INLINE void store_pair(VecF first, VecF second, typename To::Code* to) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (hwy::IsSame<To, Bfloat>() && std::endian::native == std::endian::little) {
    const hn::Repartition<std::uint16_t, F32> halves;
    const auto lower = hn::BitCast(halves, rounded_to_bf16(first));
    const auto upper = hn::BitCast(halves, rounded_to_bf16(second));
    return hn::StoreU(hn::ConcatOdd(halves, upper, lower), halves, to);
  }
#endif
  store_as<To>(first, to);
  store_as<To>(second, to + lanes());
}

/// 32 elements that follow each other; `value(l)` gives a vector of those from element l on.
template <class To, class Value>
HWY_INLINE void store_32(typename To::Code* y, Value value) {
  for (int l = 0; l < 32; l += 2 * lanes()) store_pair<To>(value(l), value(l + lanes()), y + l);
}

/// A scale, or another number, of each 16 of 32 elements.
struct Halves {
  VecF first, second;
  HWY_INLINE VecF operator[](int l) const { return l < 16 ? first : second; }
};

/// What a lambda that gives vectors must be, to be part of the loop it is called from.
#define HEFT_VALUE HWY_ATTR __attribute__((always_inline))

template <class Code, class Kernel>
HWY_INLINE void each(DType dtype, const std::byte* blocks, std::size_t count, Code* out, Kernel kernel) {
  const DTypeInfo& row = info(dtype);
  const auto* block = reinterpret_cast<Block>(blocks);
  for (; count > 0; --count, block += row.block_bytes, out += row.block_elements) kernel(block, out);
}

#define HEFT_EACH(kernel) \
  each(dtype, blocks, count, out, [](Block block, typename To::Code* y) HWY_ATTR { kernel<To>(block, y); })

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heft::engine
HWY_AFTER_NAMESPACE();

#endif
