// kernels/blocks-inl.hpp: shared code of the kernels of ggml's blocks: bytes in 32-bit lanes, stores of 32 elements,
// and the loop over blocks.
//
// Included once for each target, as narrow-inl.hpp.
#if defined(HEFT_KERNELS_BLOCKS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef HEFT_KERNELS_BLOCKS_INL_HPP
#undef HEFT_KERNELS_BLOCKS_INL_HPP
#else
#define HEFT_KERNELS_BLOCKS_INL_HPP
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
namespace heft::kernels {
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
/// Returns `value` in each lane i for which bit i of `bits` is set, 0 in the others.
HWY_INLINE VecI where_set(std::uint32_t bits, int value) {
  const VecI masks = hn::Shl(integer(1), hn::Iota(I32(), 0));
  return hn::IfThenElseZero(hn::TestBit(integer(static_cast<int>(bits)), masks), integer(value));
}

/// Returns the sign bit in the lanes whose bit is set, 0 in the others.
HWY_INLINE VecF signs_in_lanes(std::uint32_t bits) {
  return hn::BitCast(F32(), where_set(bits, std::numeric_limits<std::int32_t>::min()));
}

/// Rounds results of arithmetic to bf16, in the upper halves of the lanes. NaN needs no case: a scale's NaN is widened
/// to 0x7FC00000, whose lower bits are 0, so that rounding carries nothing into the exponent.
HWY_INLINE VecU rounded_to_bf16(VecF value) {
  // To nearest, ties to even: half a unit less one is added, and one more where the kept half is odd.
  const VecU bits = as_bits(value);
  return hn::Add(hn::Add(bits, constant(0x7FFF)), hn::And(hn::ShiftRight<16>(bits), constant(1)));
}

/// Stores two consecutive vectors.
template <class To>
HWY_INLINE void store_pair(VecF first, VecF second, typename To::Code* to) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (hwy::IsSame<To, Bfloat>() && std::endian::native == std::endian::little) {
    // The upper halves of the 32-bit lanes are the bf16 values: taking the odd halves of both vectors packs them,
    // without a shift or a demotion.
    const hn::Repartition<std::uint16_t, F32> halves;
    const auto lower = hn::BitCast(halves, rounded_to_bf16(first));
    const auto upper = hn::BitCast(halves, rounded_to_bf16(second));
    return hn::StoreU(hn::ConcatOdd(halves, upper, lower), halves, to);
  }
#endif
  store_as<To>(first, to);
  store_as<To>(second, to + lanes());
}

/// Stores 32 consecutive elements; `value(l)` returns the vector that starts at element l.
template <class To, class Value>
HWY_INLINE void store_32(typename To::Code* y, Value value) {
  for (int l = 0; l < 32; l += 2 * lanes()) store_pair<To>(value(l), value(l + lanes()), y + l);
}

/// A number, such as a scale, for each half of 32 elements.
struct Halves {
  VecF first, second;
  HWY_INLINE VecF operator[](int l) const { return l < 16 ? first : second; }
};

/// Attributes of lambdas that return vectors: compiled for the target and inlined into the calling loop.
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
}  // namespace heft::kernels
HWY_AFTER_NAMESPACE();

#endif
