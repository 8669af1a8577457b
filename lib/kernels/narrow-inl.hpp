// kernels/narrow-inl.hpp: conversion of vectors between f32 and the codes of narrower floats, for one SIMD target.
//
// Included once for each target, after hwy/highway.h, by the files that foreach_target.h compiles; hence no #pragma
// once.
#if defined(HEFT_KERNELS_NARROW_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef HEFT_KERNELS_NARROW_INL_HPP
#undef HEFT_KERNELS_NARROW_INL_HPP
#else
#define HEFT_KERNELS_NARROW_INL_HPP
#endif

#include <cstdint>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace heft::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
// At most as many lanes as the smallest group of a block has elements, so that decoding a group leaves no remainder.
using F32 = hn::CappedTag<float, 16>;
using U32 = hn::RebindToUnsigned<F32>;
using I32 = hn::RebindToSigned<F32>;
using VecF = hn::Vec<F32>;
using VecU = hn::Vec<U32>;

constexpr std::uint32_t f32_sign = 0x80000000u;
constexpr std::uint32_t f32_infinity = 0x7F800000u;
constexpr std::uint32_t f32_nan = 0x7FC00000u;

HWY_INLINE VecU constant(std::uint32_t bits) { return hn::Set(U32(), bits); }
HWY_INLINE VecF as_f32(VecU bits) { return hn::BitCast(F32(), bits); }
HWY_INLINE VecU as_bits(VecF value) { return hn::BitCast(U32(), value); }
// Magnitudes and codes have no sign bit, so signed comparison, which every target has, is correct for them.
HWY_INLINE hn::Mask<U32> greater(VecU a, VecU b) {
  return hn::RebindMask(U32(), hn::Gt(hn::BitCast(I32(), a), hn::BitCast(I32(), b)));
}
HWY_INLINE VecU choose(hn::Mask<U32> mask, VecU yes, VecU no) { return hn::IfThenElse(mask, yes, no); }

// A small float: sign, exponent, then Mantissa bits. The parameters are those of the table in core/element.cpp.
template <class CodeType, int Mantissa, int Bias, std::uint32_t Largest, std::uint32_t Overflow, std::uint32_t Nan,
          bool NegativeZero>
struct SmallFloat {
  using Code = CodeType;
  static constexpr int mantissa = Mantissa;
  static constexpr int bias = Bias;
  static constexpr std::uint32_t largest = Largest;
  static constexpr std::uint32_t overflow = Overflow;
  static constexpr std::uint32_t nan = Nan;
  static constexpr bool negative_zero = NegativeZero;
  static constexpr int sign_shift = 32 - 8 * static_cast<int>(sizeof(Code));
  static constexpr std::uint32_t code_sign = f32_sign >> sign_shift;

  static HWY_INLINE VecF widen(VecU code) {
    const VecU magnitude = hn::And(code, constant(code_sign - 1));
    // The mantissa moves to its place in f32, with the exponent above it; adding the difference of the biases mends the
    // exponent.
    const VecU normal =
        hn::Add(hn::ShiftLeft<23 - Mantissa>(magnitude), constant(static_cast<std::uint32_t>(127 - Bias) << 23));
    // Subnormals are multiplied by their unit: the results are normal f32, so that flush-to-zero modes do not change
    // them.
    const VecF unit = as_f32(constant(static_cast<std::uint32_t>(128 - Bias - Mantissa) << 23));
    const VecU subnormal = as_bits(hn::Mul(hn::ConvertTo(F32(), hn::BitCast(I32(), magnitude)), unit));
    VecU value = choose(greater(constant(1u << Mantissa), magnitude), subnormal, normal);
    const VecU sign = hn::ShiftLeft<sign_shift>(hn::And(code, constant(code_sign)));
    if constexpr (!NegativeZero)
      return as_f32(choose(hn::Eq(code, constant(Nan)), constant(f32_nan), hn::Or(value, sign)));
    // Above the largest number are infinity, whose mantissa is 0, and NaN, which keeps its mantissa bits.
    const VecU special =
        hn::Or(hn::ShiftLeft<23 - Mantissa>(magnitude), constant(Overflow > Largest ? f32_infinity : f32_nan));
    value = choose(greater(magnitude, constant(Largest)), special, value);
    return as_f32(hn::Or(value, sign));
  }

  static HWY_INLINE VecU narrow(VecF value) {
    const VecU bits = as_bits(value);
    const VecU magnitude = hn::AndNot(constant(f32_sign), bits);
    // Rounds to nearest, ties to even: half a unit less one is added, and one more where the kept part is odd. A carry
    // out of the mantissa goes to the exponent, as it should.
    const VecU odd = hn::And(hn::ShiftRight<23 - Mantissa>(magnitude), constant(1));
    const VecU rounded = hn::Add(hn::Add(magnitude, constant((1u << (22 - Mantissa)) - 1)), odd);
    const VecU normal =
        hn::Sub(hn::ShiftRight<23 - Mantissa>(rounded), constant(static_cast<std::uint32_t>(127 - Bias) << Mantissa));
    // The addition to a number whose last place is this type's smallest subnormal rounds the value.
    const VecU lattice = constant(static_cast<std::uint32_t>(127 + 24 - Bias - Mantissa) << 23);
    const VecU subnormal = hn::Sub(as_bits(hn::Add(as_f32(magnitude), as_f32(lattice))), lattice);
    VecU code = choose(greater(constant(static_cast<std::uint32_t>(128 - Bias) << 23), magnitude), subnormal, normal);
    // Overflow is infinity, or the largest number of a type without one.
    code = choose(greater(code, constant(Largest)), constant(Overflow), code);
    VecU sign = hn::ShiftRight<sign_shift>(hn::And(bits, constant(f32_sign)));
    const hn::Mask<U32> is_nan = greater(magnitude, constant(f32_infinity));
    if constexpr (NegativeZero) return hn::Or(choose(is_nan, constant(Nan), code), sign);
    // The code of -0 is the NaN of these types: a value that rounds to zero loses its sign.
    sign = choose(hn::Eq(code, hn::Zero(U32())), hn::Zero(U32()), sign);
    return choose(is_nan, constant(Nan), hn::Or(code, sign));
  }
};

using E4m3 = SmallFloat<std::uint8_t, 3, 7, 0x7E, 0x7E, 0x7F, true>;
using E5m2 = SmallFloat<std::uint8_t, 2, 15, 0x7B, 0x7C, 0x7E, true>;
using E4m3fnuz = SmallFloat<std::uint8_t, 3, 8, 0x7F, 0x7F, 0x80, false>;
using E5m2fnuz = SmallFloat<std::uint8_t, 2, 16, 0x7F, 0x7F, 0x80, false>;

// f16 is converted by the processor's instructions on targets that have them; AVX2 implies F16C.
#if HWY_TARGET == HWY_SSSE3 || HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
using Half = SmallFloat<std::uint16_t, 10, 15, 0x7BFF, 0x7C00, 0x7E00, true>;
#else
struct Half {
  using Code = hwy::float16_t;
};
#endif

struct Bfloat {
  using Code = std::uint16_t;
  static HWY_INLINE VecF widen(VecU code) { return as_f32(hn::ShiftLeft<16>(code)); }
  static HWY_INLINE VecU narrow(VecF value) {
    const VecU bits = as_bits(value);
    const VecU upper = hn::ShiftRight<16>(bits);
    const VecU rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, constant(0x7FFF)), hn::And(upper, constant(1))));
    // A NaN is cut, not rounded, with the quiet bit set: its payload may lie in the lower half, and cutting that alone
    // would leave infinity.
    const hn::Mask<U32> is_nan = greater(hn::AndNot(constant(f32_sign), bits), constant(f32_infinity));
    return choose(is_nan, hn::Or(upper, constant(0x40)), rounded);
  }
};

// A power of two, as the exponent field of an f32. Code 0 is the subnormal 2^-127, code 255 is NaN.
struct E8m0 {
  using Code = std::uint8_t;
  static HWY_INLINE VecF widen(VecU code) {
    // 0x00400000 is 2^-127 as an f32, which is subnormal.
    const VecU value = choose(hn::Eq(code, hn::Zero(U32())), constant(0x00400000), hn::ShiftLeft<23>(code));
    return as_f32(choose(hn::Eq(code, constant(0xFF)), constant(f32_nan), value));
  }
  static HWY_INLINE VecU narrow(VecF value) {
    const VecU bits = as_bits(value);
    const VecU magnitude = hn::AndNot(constant(f32_sign), bits);
    // As in SmallFloat, with no bit of mantissa left: the exponent is even or odd.
    const VecU odd = hn::And(hn::ShiftRight<23>(magnitude), constant(1));
    VecU code = hn::ShiftRight<23>(hn::Add(hn::Add(magnitude, constant(0x3FFFFF)), odd));
    code = choose(greater(code, constant(254)), constant(254), code);
    // Subnormal values lie between 2^-127 and 2^-126, codes 0 and 1. 0x00600000 is the middle between them, which goes
    // to the even code.
    const VecU tiny = choose(greater(magnitude, constant(0x00600000)), constant(1), hn::Zero(U32()));
    code = choose(greater(constant(0x00800000), magnitude), tiny, code);
    // The type has no sign: negative numbers become NaN, but -0 the smallest number as 0 does.
    const hn::Mask<U32> negative = hn::And(greater(hn::Zero(U32()), bits), greater(magnitude, hn::Zero(U32())));
    return choose(hn::Or(negative, greater(magnitude, constant(f32_infinity))), constant(0xFF), code);
  }
};

template <class Float>
HWY_INLINE VecF load_widened(const typename Float::Code* from) {
  using Code = typename Float::Code;
  const auto codes = hn::LoadU(hn::Rebind<Code, F32>(), from);
  if constexpr (hwy::IsSame<Code, hwy::float16_t>())
    return hn::PromoteTo(F32(), codes);
  else
    return Float::widen(hn::PromoteTo(U32(), codes));
}

// f32, stored without conversion.
struct Single {
  using Code = float;
};

// Returns a vector of codes with as many lanes.
template <class Float>
HWY_INLINE auto narrowed(VecF value) {
  using Code = typename Float::Code;
  const hn::Rebind<Code, F32> codes;
  if constexpr (hwy::IsSame<Code, float>())
    return value;
  else if constexpr (hwy::IsSame<Code, hwy::float16_t>())
    return hn::DemoteTo(codes, value);
  else
    return hn::DemoteTo(codes, hn::BitCast(I32(), Float::narrow(value)));
}

template <class Float>
HWY_INLINE void store_as(VecF value, typename Float::Code* to) {
  hn::StoreU(narrowed<Float>(value), hn::Rebind<typename Float::Code, F32>(), to);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heft::kernels
HWY_AFTER_NAMESPACE();

#endif
