// Kernels between f32 and the narrow floats. Compiled once for each target by foreach_target.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "materialize/kernels_float.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which sets what highway.h reads.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstring>

#include "materialize/kernels.hpp"
#include "materialize/kernels_narrow-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace heft::engine {
namespace HWY_NAMESPACE {
namespace {

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
  for (; i + lanes <= count; i += lanes) store_as<Float>(hn::LoadU(F32(), from + i), codes + i);
  if (i == count) return;
  HWY_ALIGN float padded[HWY_MAX_BYTES / sizeof(float)] = {};
  HWY_ALIGN Code narrowed[HWY_MAX_BYTES / sizeof(float)];
  std::memcpy(padded, from + i, (count - i) * sizeof *from);
  store_as<Float>(hn::Load(F32(), padded), narrowed);
  std::memcpy(codes + i, narrowed, (count - i) * sizeof(Code));
}

// Eight bits to sixteen in lanes of sixteen: every value of From is one of To, and the exponents of the normal ones fit.
template <class From, int ToMantissa, int ToBias>
struct Recoded {
  static constexpr bool in_lanes = sizeof(typename From::Code) == 1 && (From::bias == ToBias || From::bias + From::mantissa <= ToBias);

  static constexpr std::uint16_t subnormal(std::uint32_t magnitude) {
    if (magnitude == 0) return 0;
    if (From::bias == ToBias) return static_cast<std::uint16_t>(magnitude << (ToMantissa - From::mantissa));
    int top = 0;
    while (magnitude >> (top + 1) != 0) ++top;
    const std::uint32_t exponent = static_cast<std::uint32_t>(ToBias + 1 - From::bias - From::mantissa + top);
    return static_cast<std::uint16_t>((exponent << ToMantissa) | ((magnitude << (ToMantissa - top)) & ((1u << ToMantissa) - 1)));
  }
};

#if HWY_TARGET != HWY_SCALAR
template <class From, int ToMantissa, int ToBias>
void recode_lanes(const std::uint8_t* from, std::uint16_t* to, std::size_t count) {
  using Result = Recoded<From, ToMantissa, ToBias>;
  using U16 = hn::ScalableTag<std::uint16_t>;
  using VecW = hn::Vec<U16>;
  const U16 d;
  const hn::RebindToSigned<U16> signed_lanes;
  const hn::Repartition<std::uint8_t, U16> bytes;
  const auto set = [&](std::uint32_t bits) { return hn::Set(d, static_cast<std::uint16_t>(bits)); };
  const auto less = [&](VecW a, VecW b) { return hn::RebindMask(d, hn::Lt(hn::BitCast(signed_lanes, a), hn::BitCast(signed_lanes, b))); };
  HWY_ALIGN constexpr std::uint16_t subnormals[8] = {Result::subnormal(0), Result::subnormal(1), Result::subnormal(2), Result::subnormal(3),
                                                     Result::subnormal(4), Result::subnormal(5), Result::subnormal(6), Result::subnormal(7)};
  constexpr std::uint32_t infinity = ((2u << (14 - ToMantissa)) - 1) << ToMantissa;
  constexpr std::uint32_t nan = infinity | (1u << (ToMantissa - 1));
  const VecW table = hn::LoadDup128(d, subnormals);
  const auto recoded = [&](VecW code) {
    const VecW magnitude = hn::And(code, set(0x7F));
    const VecW normal = hn::Add(hn::ShiftLeft<ToMantissa - From::mantissa>(magnitude), set(static_cast<std::uint32_t>(ToBias - From::bias) << ToMantissa));
    // Two neighbouring bytes of the table for each lane.
    const VecW twice = hn::ShiftLeft<1>(hn::And(magnitude, set(7)));
    const VecW places = hn::Or(hn::Or(twice, hn::ShiftLeft<8>(twice)), set(0x0100));
    const VecW subnormal = hn::BitCast(d, hn::TableLookupBytes(hn::BitCast(bytes, table), hn::BitCast(bytes, places)));
    VecW value = hn::IfThenElse(less(magnitude, set(1u << From::mantissa)), subnormal, normal);
    const VecW sign = hn::ShiftLeft<8>(hn::And(code, set(0x80)));
    if constexpr (!From::negative_zero) return hn::IfThenElse(hn::Eq(code, set(From::nan)), set(nan), hn::Or(value, sign));
    if constexpr (From::overflow > From::largest) value = hn::IfThenElse(hn::Eq(magnitude, set(From::overflow)), set(infinity), value);
    return hn::Or(hn::IfThenElse(less(set(HWY_MAX(From::largest, From::overflow)), magnitude), set(nan), value), sign);
  };
  const hn::Rebind<std::uint8_t, U16> codes;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(recoded(hn::PromoteTo(d, hn::LoadU(codes, from + i))), d, to + i);
  if (i == count) return;
  HWY_ALIGN std::uint8_t padded[HWY_MAX_BYTES / 2] = {};
  HWY_ALIGN std::uint16_t few[HWY_MAX_BYTES / 2];
  std::memcpy(padded, from + i, count - i);
  hn::Store(recoded(hn::PromoteTo(d, hn::Load(codes, padded))), d, few);
  std::memcpy(to + i, few, (count - i) * sizeof *to);
}
#endif

template <class From, class To>
void recode(const std::byte* from_bytes, std::byte* to_bytes, std::size_t count) {
  using ToCode = typename To::Code;
  const auto* from = reinterpret_cast<const typename From::Code*>(from_bytes);
  auto* to = reinterpret_cast<ToCode*>(to_bytes);
  const std::size_t lanes = hn::Lanes(F32());
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) store_as<To>(load_widened<From>(from + i), to + i);
  if (i == count) return;
  HWY_ALIGN float widened[HWY_MAX_BYTES / sizeof(float)] = {};
  HWY_ALIGN ToCode narrowed[HWY_MAX_BYTES / sizeof(float)];
  widen_few<From>(from + i, widened, count - i);
  store_as<To>(hn::Load(F32(), widened), narrowed);
  std::memcpy(to + i, narrowed, (count - i) * sizeof *to);
}

template <class From, class To, int ToMantissa, int ToBias>
void recode_f8(const std::byte* from, std::byte* to, std::size_t count) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (Recoded<From, ToMantissa, ToBias>::in_lanes)
    return recode_lanes<From, ToMantissa, ToBias>(reinterpret_cast<const std::uint8_t*>(from), reinterpret_cast<std::uint16_t*>(to), count);
#endif
  recode<From, To>(from, to, count);
}

template <class To, int ToMantissa, int ToBias>
void recode_to(DType type, const std::byte* from, std::byte* to, std::size_t count) {
  switch (type) {
    case DType::f16: return recode<Half, To>(from, to, count);
    case DType::bf16: return recode<Bfloat, To>(from, to, count);
    case DType::f8_e4m3: return recode_f8<E4m3, To, ToMantissa, ToBias>(from, to, count);
    case DType::f8_e5m2: return recode_f8<E5m2, To, ToMantissa, ToBias>(from, to, count);
    case DType::f8_e4m3fnuz: return recode_f8<E4m3fnuz, To, ToMantissa, ToBias>(from, to, count);
    case DType::f8_e5m2fnuz: return recode_f8<E5m2fnuz, To, ToMantissa, ToBias>(from, to, count);
    default: return recode<E8m0, To>(from, to, count);
  }
}

void Recode(DType from_type, DType to_type, const std::byte* from, std::byte* to, std::size_t count) {
  if (to_type == DType::f16) recode_to<Half, 10, 15>(from_type, from, to, count);
  else recode_to<Bfloat, 7, 127>(from_type, from, to, count);
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
HWY_EXPORT(Recode);

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

bool has_recode_kernel(DType from_type, DType to_type) noexcept {
  return has_narrow_kernel(from_type) && (to_type == DType::f16 || to_type == DType::bf16);
}

void recode_run(DType from_type, DType to_type, const std::byte* from, std::byte* to, std::size_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(Recode)(from_type, to_type, from, to, count);
}

void widen_run(DType from_type, const std::byte* from, std::byte* to, std::size_t count, Store store) noexcept {
  HWY_DYNAMIC_DISPATCH(Widen)(from_type, from, to, count, store == Store::streaming);
}

void narrow_run(DType to_type, const std::byte* from, std::byte* to, std::size_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(Narrow)(to_type, from, to, count);
}

}  // namespace heft::engine
#endif
