// Kernels between f32 and the narrow floats. Compiled once for each target by foreach_target.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "materialize/kernels_float.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which sets what highway.h reads.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstring>

#include "materialize/kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace heft::engine {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;
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
// Magnitudes and codes have no sign bit, so signed comparison, which every target has, is right for them.
HWY_INLINE hn::Mask<U32> greater(VecU a, VecU b) { return hn::RebindMask(U32(), hn::Gt(hn::BitCast(I32(), a), hn::BitCast(I32(), b))); }
HWY_INLINE VecU choose(hn::Mask<U32> mask, VecU yes, VecU no) { return hn::IfThenElse(mask, yes, no); }

// A small float: sign, exponent, then Mantissa bits. Each describes its codes as core/element.cpp's table does.
template <class CodeType, int Mantissa, int Bias, std::uint32_t Largest, std::uint32_t Overflow, std::uint32_t Nan, bool NegativeZero>
struct SmallFloat {
  using Code = CodeType;
  static constexpr int sign_shift = 32 - 8 * static_cast<int>(sizeof(Code));
  static constexpr std::uint32_t code_sign = f32_sign >> sign_shift;

  static HWY_INLINE VecF widen(VecU code) {
    const VecU magnitude = hn::And(code, constant(code_sign - 1));
    const VecU normal = hn::Add(hn::ShiftLeft<23 - Mantissa>(magnitude), constant(static_cast<std::uint32_t>(127 - Bias) << 23));
    // Subnormals by multiplication with their unit: results are normal f32, whatever the processor does with subnormals.
    const VecF unit = as_f32(constant(static_cast<std::uint32_t>(128 - Bias - Mantissa) << 23));
    const VecU subnormal = as_bits(hn::Mul(hn::ConvertTo(F32(), hn::BitCast(I32(), magnitude)), unit));
    VecU value = choose(greater(constant(1u << Mantissa), magnitude), subnormal, normal);
    const VecU sign = hn::ShiftLeft<sign_shift>(hn::And(code, constant(code_sign)));
    if constexpr (!NegativeZero) return as_f32(choose(hn::Eq(code, constant(Nan)), constant(f32_nan), hn::Or(value, sign)));
    const VecU special = hn::Or(hn::ShiftLeft<23 - Mantissa>(magnitude), constant(Overflow > Largest ? f32_infinity : f32_nan));
    value = choose(greater(magnitude, constant(Largest)), special, value);
    return as_f32(hn::Or(value, sign));
  }

  static HWY_INLINE VecU narrow(VecF value) {
    const VecU bits = as_bits(value);
    const VecU magnitude = hn::AndNot(constant(f32_sign), bits);
    const VecU odd = hn::And(hn::ShiftRight<23 - Mantissa>(magnitude), constant(1));
    const VecU rounded = hn::Add(hn::Add(magnitude, constant((1u << (22 - Mantissa)) - 1)), odd);
    const VecU normal = hn::Sub(hn::ShiftRight<23 - Mantissa>(rounded), constant(static_cast<std::uint32_t>(127 - Bias) << Mantissa));
    // Added to a number whose last place is this type's smallest subnormal, the value is rounded by the addition itself.
    const VecU lattice = constant(static_cast<std::uint32_t>(127 + 24 - Bias - Mantissa) << 23);
    const VecU subnormal = hn::Sub(as_bits(hn::Add(as_f32(magnitude), as_f32(lattice))), lattice);
    VecU code = choose(greater(constant(static_cast<std::uint32_t>(128 - Bias) << 23), magnitude), subnormal, normal);
    code = choose(greater(code, constant(Largest)), constant(Overflow), code);
    VecU sign = hn::ShiftRight<sign_shift>(hn::And(bits, constant(f32_sign)));
    const hn::Mask<U32> nan = greater(magnitude, constant(f32_infinity));
    if constexpr (NegativeZero) return hn::Or(choose(nan, constant(Nan), code), sign);
    sign = choose(hn::Eq(code, hn::Zero(U32())), hn::Zero(U32()), sign);
    return choose(nan, constant(Nan), hn::Or(code, sign));
  }
};

using E4m3 = SmallFloat<std::uint8_t, 3, 7, 0x7E, 0x7E, 0x7F, true>;
using E5m2 = SmallFloat<std::uint8_t, 2, 15, 0x7B, 0x7C, 0x7E, true>;
using E4m3fnuz = SmallFloat<std::uint8_t, 3, 8, 0x7F, 0x7F, 0x80, false>;
using E5m2fnuz = SmallFloat<std::uint8_t, 2, 16, 0x7F, 0x7F, 0x80, false>;

// By the processor's own instructions where it has them, which AVX2 implies.
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
    const hn::Mask<U32> nan = greater(hn::AndNot(constant(f32_sign), bits), constant(f32_infinity));
    return choose(nan, hn::Or(upper, constant(0x40)), rounded);
  }
};

// A power of two: the exponent field of an f32, whose code 0 is the subnormal 2^-127 and whose code 255 is NaN.
struct E8m0 {
  using Code = std::uint8_t;
  static HWY_INLINE VecF widen(VecU code) {
    const VecU value = choose(hn::Eq(code, hn::Zero(U32())), constant(0x00400000), hn::ShiftLeft<23>(code));
    return as_f32(choose(hn::Eq(code, constant(0xFF)), constant(f32_nan), value));
  }
  static HWY_INLINE VecU narrow(VecF value) {
    const VecU bits = as_bits(value);
    const VecU magnitude = hn::AndNot(constant(f32_sign), bits);
    const VecU odd = hn::And(hn::ShiftRight<23>(magnitude), constant(1));
    VecU code = hn::ShiftRight<23>(hn::Add(hn::Add(magnitude, constant(0x3FFFFF)), odd));
    code = choose(greater(code, constant(254)), constant(254), code);
    const VecU tiny = choose(greater(magnitude, constant(0x00600000)), constant(1), hn::Zero(U32()));
    code = choose(greater(constant(0x00800000), magnitude), tiny, code);
    const hn::Mask<U32> negative = hn::And(greater(hn::Zero(U32()), bits), greater(magnitude, hn::Zero(U32())));
    return choose(hn::Or(negative, greater(magnitude, constant(f32_infinity))), constant(0xFF), code);
  }
};

template <class Float>
HWY_INLINE VecF load_widened(const typename Float::Code* from) {
  using Code = typename Float::Code;
  const auto codes = hn::LoadU(hn::Rebind<Code, F32>(), from);
  if constexpr (hwy::IsSame<Code, hwy::float16_t>()) return hn::PromoteTo(F32(), codes);
  else return Float::widen(hn::PromoteTo(U32(), codes));
}

template <class Float>
HWY_INLINE void store_narrowed(VecF value, typename Float::Code* to) {
  using Code = typename Float::Code;
  const hn::Rebind<Code, F32> codes;
  if constexpr (hwy::IsSame<Code, hwy::float16_t>()) hn::StoreU(hn::DemoteTo(codes, value), codes, to);
  else hn::StoreU(hn::DemoteTo(codes, hn::BitCast(I32(), Float::narrow(value))), codes, to);
}

// Fewer elements than a vector: through a padded copy.
template <class Float>
void widen_few(const typename Float::Code* from, float* to, std::size_t count) {
  HWY_ALIGN typename Float::Code padded[HWY_MAX_BYTES / sizeof(float)] = {};
  HWY_ALIGN float widened[HWY_MAX_BYTES / sizeof(float)];
  std::memcpy(padded, from, count * sizeof *from);
  hn::Store(load_widened<Float>(padded), F32(), widened);
  std::memcpy(to, widened, count * sizeof *to);
}

template <class Float>
void widen_cached(const typename Float::Code* from, float* to, std::size_t count) {
  const std::size_t lanes = hn::Lanes(F32());
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(load_widened<Float>(from + i), F32(), to + i);
  if (i < count) widen_few<Float>(from + i, to + i, count - i);
}

template <class Float>
void widen_streaming(const typename Float::Code* from, float* to, std::size_t count) {
  const std::size_t lanes = hn::Lanes(F32());
  const std::size_t into_vector = reinterpret_cast<std::uintptr_t>(to) / sizeof(float) % lanes;
  const std::size_t head = into_vector == 0 ? 0 : HWY_MIN(count, lanes - into_vector);
  if (head != 0) widen_few<Float>(from, to, head);
  std::size_t i = head;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    hn::Stream(load_widened<Float>(from + i), F32(), to + i);
    hn::Stream(load_widened<Float>(from + i + lanes), F32(), to + i + lanes);
  }
  hwy::FlushStream();
  widen_cached<Float>(from + i, to + i, count - i);
}

template <class Float>
void widen(const std::byte* from, std::byte* to, std::size_t count, bool streaming) {
  // Neither run need be aligned: they are only ever touched by unaligned loads and stores, or past the alignment that widen_streaming reaches.
  const auto* codes = reinterpret_cast<const typename Float::Code*>(from);
  auto* floats = reinterpret_cast<float*>(to);
  if (streaming && reinterpret_cast<std::uintptr_t>(to) % sizeof(float) == 0) widen_streaming<Float>(codes, floats, count);
  else widen_cached<Float>(codes, floats, count);
}

template <class Float>
void narrow(const std::byte* from_bytes, std::byte* to, std::size_t count) {
  using Code = typename Float::Code;
  const auto* from = reinterpret_cast<const float*>(from_bytes);
  Code* codes = reinterpret_cast<Code*>(to);
  const std::size_t lanes = hn::Lanes(F32());
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) store_narrowed<Float>(hn::LoadU(F32(), from + i), codes + i);
  if (i == count) return;
  HWY_ALIGN float padded[HWY_MAX_BYTES / sizeof(float)] = {};
  HWY_ALIGN Code narrowed[HWY_MAX_BYTES / sizeof(float)];
  std::memcpy(padded, from + i, (count - i) * sizeof *from);
  store_narrowed<Float>(hn::Load(F32(), padded), narrowed);
  std::memcpy(codes + i, narrowed, (count - i) * sizeof(Code));
}

void Widen(DType type, const std::byte* from, std::byte* to, std::size_t count, bool streaming) {
  switch (type) {
    case DType::f16: return widen<Half>(from, to, count, streaming);
    case DType::bf16: return widen<Bfloat>(from, to, count, streaming);
    case DType::f8_e4m3: return widen<E4m3>(from, to, count, streaming);
    case DType::f8_e5m2: return widen<E5m2>(from, to, count, streaming);
    case DType::f8_e4m3fnuz: return widen<E4m3fnuz>(from, to, count, streaming);
    case DType::f8_e5m2fnuz: return widen<E5m2fnuz>(from, to, count, streaming);
    default: return widen<E8m0>(from, to, count, streaming);
  }
}

void Narrow(DType type, const std::byte* from, std::byte* to, std::size_t count) {
  switch (type) {
    case DType::f16: return narrow<Half>(from, to, count);
    case DType::bf16: return narrow<Bfloat>(from, to, count);
    case DType::f8_e4m3: return narrow<E4m3>(from, to, count);
    case DType::f8_e5m2: return narrow<E5m2>(from, to, count);
    case DType::f8_e4m3fnuz: return narrow<E4m3fnuz>(from, to, count);
    case DType::f8_e5m2fnuz: return narrow<E5m2fnuz>(from, to, count);
    default: return narrow<E8m0>(from, to, count);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heft::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heft::engine {

HWY_EXPORT(Widen);
HWY_EXPORT(Narrow);

bool has_narrow_kernel(DType dtype) noexcept {
  switch (dtype) {
    case DType::f16:
    case DType::bf16:
    case DType::f8_e4m3:
    case DType::f8_e5m2:
    case DType::f8_e4m3fnuz:
    case DType::f8_e5m2fnuz:
    case DType::f8_e8m0: return true;
    default: return false;
  }
}

void widen_run(DType from_type, const std::byte* from, std::byte* to, std::size_t count, Store store) noexcept {
  HWY_DYNAMIC_DISPATCH(Widen)(from_type, from, to, count, store == Store::streaming);
}

void narrow_run(DType to_type, const std::byte* from, std::byte* to, std::size_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(Narrow)(to_type, from, to, count);
}

}  // namespace heft::engine
#endif
