// Kernels between f32 and the narrow floats. Compiled once for each target by foreach_target.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/float.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which sets what highway.h reads.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstring>

#include "kernels/kernels.hpp"
#include "kernels/narrow-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace heft::kernels {
namespace HWY_NAMESPACE {
namespace {

// Widens fewer elements than a vector has, through a padded copy.
template <class Float>
void widen_few(const typename Float::Code* from, float* to, std::size_t count) {
  HWY_ALIGN typename Float::Code padded[HWY_MAX_BYTES / sizeof(float)] = {};
  HWY_ALIGN float widened[HWY_MAX_BYTES / sizeof(float)];
  // A vector load would read past the run, which can end at the end of a page. The padding is converted and not
  // stored.
  std::memcpy(padded, from, count * sizeof *from);
  hn::Store(load_widened<Float>(padded), F32(), widened);
  std::memcpy(to, widened, count * sizeof *to);
}

// Widens a run with ordinary stores.
template <class Float>
void widen_cached(const typename Float::Code* from, float* to, std::size_t count) {
  const std::size_t lanes = hn::Lanes(F32());
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(load_widened<Float>(from + i), F32(), to + i);
  // The rest goes through the same conversion of vectors, so that its bits do not depend on its position.
  if (i < count) widen_few<Float>(from + i, to + i, count - i);
}

// Calls `vector(i)`, which streams `lanes` results from number i, for each aligned i. The results before the first and
// after the last aligned vector are written by `cached(i, count)`.
template <class Result, class Vector, class Cached>
void stream_vectors(const Result* to, std::size_t count, std::size_t lanes, const Vector& vector,
                    const Cached& cached) {
  // Streaming stores require addresses that are aligned to the vector: up to lanes - 1 results come before the first
  // one.
  const std::size_t into_vector = reinterpret_cast<std::uintptr_t>(to) / sizeof *to % lanes;
  std::size_t i = into_vector == 0 ? 0 : HWY_MIN(count, lanes - into_vector);
  cached(0, i);
  for (; i + lanes <= count; i += lanes) vector(i);
  cached(i, count - i);
}

// Returns true when `to` is aligned to its elements, so that some element starts an aligned vector.
template <class Result>
bool can_stream(const Result* to, bool streaming) {
  return streaming && reinterpret_cast<std::uintptr_t>(to) % sizeof *to == 0;
}

// Runs need no alignment: they are accessed by unaligned loads and stores, and by streaming stores at the addresses
// that stream_vectors has aligned.
template <class Float>
void widen(const std::byte* from_bytes, std::byte* to_bytes, std::size_t count, bool streaming) {
  const auto* from = reinterpret_cast<const typename Float::Code*>(from_bytes);
  auto* to = reinterpret_cast<float*>(to_bytes);
  const auto cached = [&](std::size_t i, std::size_t few) { widen_cached<Float>(from + i, to + i, few); };
  if (!can_stream(to, streaming)) return cached(0, count);
  stream_vectors(
      to, count, hn::Lanes(F32()), [&](std::size_t i) { hn::Stream(load_widened<Float>(from + i), F32(), to + i); },
      cached);
}

// Stores the vectors of f32 that `vector(i)` returns, from number i, as codes.
template <class Float, class Vector, class Few>
void narrow_cached(typename Float::Code* to, std::size_t count, const Vector& vector, const Few& few) {
  using Code = typename Float::Code;
  const std::size_t lanes = hn::Lanes(F32());
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) store_as<Float>(vector(i), to + i);
  if (i == count) return;
  // The last vector is converted whole and stored in part.
  HWY_ALIGN Code narrowed[HWY_MAX_BYTES / sizeof(float)];
  store_as<Float>(few(i, count - i), narrowed);
  std::memcpy(to + i, narrowed, (count - i) * sizeof(Code));
}

#if HWY_TARGET != HWY_SCALAR
// Streams a whole vector of codes of 16 or 8 bits, made of two or four vectors of f32, so that cache lines are written
// whole.
template <class Float, class Vector>
HWY_INLINE void stream_narrowed(typename Float::Code* to, std::size_t i, const Vector& vector) {
  using Code = typename Float::Code;
  const std::size_t lanes = hn::Lanes(F32());
  // As many codes as a vector of f32 has lanes: half a vector of 16 bits, a quarter of one of 8.
  const hn::Rebind<Code, F32> quarter;
  const hn::Twice<decltype(quarter)> half;
  const auto pair = [&](std::size_t at) {
    return hn::Combine(half, narrowed<Float>(vector(at + lanes)), narrowed<Float>(vector(at)));
  };
  if constexpr (sizeof(Code) == 2) {
    hn::Stream(pair(i), half, to + i);
  } else {
    const hn::Twice<decltype(half)> whole;
    hn::Stream(hn::Combine(whole, pair(i + 2 * lanes), pair(i)), whole, to + i);
  }
}
#endif

// Stores `count` results as codes. `vector(i)` returns the vector of f32 from number i; `few(i, n)` the same for the
// last n numbers, which are fewer than a vector has.
template <class Float, class Vector, class Few>
void narrow_vectors(typename Float::Code* to, std::size_t count, [[maybe_unused]] bool streaming, const Vector& vector,
                    const Few& few) {
  const auto cached = [&](std::size_t begin, std::size_t some) {
    narrow_cached<Float>(
        to + begin, some, [&](std::size_t i) { return vector(begin + i); },
        [&](std::size_t i, std::size_t rest) { return few(begin + i, rest); });
  };
#if HWY_TARGET != HWY_SCALAR
  // A streamed vector has as many bytes as one of f32, so it has two or four times as many codes.
  const std::size_t lanes = hn::Lanes(F32()) * (sizeof(float) / sizeof *to);
  if (can_stream(to, streaming))
    return stream_vectors(to, count, lanes, [&](std::size_t i) { stream_narrowed<Float>(to, i, vector); }, cached);
#endif
  cached(0, count);
}

// Loads in halves. If vectors are as long as a cache line, unaligned loads cross two lines each, and reading from
// memory reaches only 0.6 of its rate.
HWY_INLINE VecF load_halves(const float* from) {
#if HWY_TARGET == HWY_SCALAR
  return hn::LoadU(F32(), from);
#else
  const hn::Half<F32> half;
  return hn::Combine(F32(), hn::LoadU(half, from + hn::Lanes(half)), hn::LoadU(half, from));
#endif
}

template <class Float>
void narrow(const std::byte* from_bytes, std::byte* to, std::size_t count, bool streaming) {
  const auto* from = reinterpret_cast<const float*>(from_bytes);
  narrow_vectors<Float>(
      reinterpret_cast<typename Float::Code*>(to), count, streaming,
      [&](std::size_t i) { return load_halves(from + i); },
      [&](std::size_t i, std::size_t few) {
        // The last few are loaded from a padded copy, because a vector load would read past the run.
        HWY_ALIGN float padded[HWY_MAX_BYTES / sizeof(float)] = {};
        std::memcpy(padded, from + i, few * sizeof *from);
        return hn::Load(F32(), padded);
      });
}

// Recoding of eight bits to sixteen in lanes of sixteen bits: possible if To represents every value of From, and the
// exponents of normal values stay normal.
template <class From, int ToMantissa, int ToBias>
struct Recoded {
  // Equal biases keep subnormals subnormal (E5M2 to f16). Otherwise all subnormals must become normal, of which
  // the smallest has the exponent 1 - bias - mantissa.
  static constexpr bool in_lanes =
      sizeof(typename From::Code) == 1 && (From::bias == ToBias || From::bias + From::mantissa <= ToBias);

  static constexpr std::uint16_t subnormal(std::uint32_t magnitude) {
    if (magnitude == 0) return 0;
    // The unit of subnormals follows from bias and mantissa, so only the mantissa is moved up.
    if (From::bias == ToBias) return static_cast<std::uint16_t>(magnitude << (ToMantissa - From::mantissa));
    // The highest set bit becomes the implicit one of a normal number, and the others are its mantissa.
    int top = 0;
    while (magnitude >> (top + 1) != 0) ++top;
    const auto exponent = static_cast<std::uint32_t>(ToBias + 1 - From::bias - From::mantissa + top);
    return static_cast<std::uint16_t>((exponent << ToMantissa) |
                                      ((magnitude << (ToMantissa - top)) & ((1u << ToMantissa) - 1)));
  }
};

#if HWY_TARGET != HWY_SCALAR
// Recodes eight bits to sixteen without f32. The arithmetic is that of SmallFloat::widen(), in narrower lanes.
template <class From, int ToMantissa, int ToBias>
void recode_lanes(const std::uint8_t* from, std::uint16_t* to, std::size_t count, bool streaming) {
  using Result = Recoded<From, ToMantissa, ToBias>;
  using U16 = hn::ScalableTag<std::uint16_t>;
  using VecW = hn::Vec<U16>;
  const U16 d;
  const hn::RebindToSigned<U16> signed_lanes;
  const hn::Repartition<std::uint8_t, U16> bytes;
  const auto set = [&](std::uint32_t bits) { return hn::Set(d, static_cast<std::uint16_t>(bits)); };
  // Magnitudes and codes have no bit 15, so signed comparison, which every target has, is correct.
  const auto less = [&](VecW a, VecW b) {
    return hn::RebindMask(d, hn::Lt(hn::BitCast(signed_lanes, a), hn::BitCast(signed_lanes, b)));
  };
  // At most three bits of mantissa: eight subnormals, zero among them, fill 16 bytes, one row of a byte lookup.
  HWY_ALIGN constexpr std::uint16_t subnormals[8] = {Result::subnormal(0), Result::subnormal(1), Result::subnormal(2),
                                                     Result::subnormal(3), Result::subnormal(4), Result::subnormal(5),
                                                     Result::subnormal(6), Result::subnormal(7)};
  // All bits of the exponent set, none of the mantissa. The quiet NaN has the highest bit of the mantissa as well.
  constexpr std::uint32_t infinity = ((2u << (14 - ToMantissa)) - 1) << ToMantissa;
  constexpr std::uint32_t nan = infinity | (1u << (ToMantissa - 1));
  const VecW table = hn::LoadDup128(d, subnormals);
  const auto recoded = [&](VecW code) {
    const VecW magnitude = hn::And(code, set(0x7F));
    // The mantissa moves to its new place with the exponent above it; the difference of the biases is added to the
    // exponent.
    const VecW normal = hn::Add(hn::ShiftLeft<ToMantissa - From::mantissa>(magnitude),
                                set(static_cast<std::uint32_t>(ToBias - From::bias) << ToMantissa));
    // The indexes of two neighbouring bytes of the table for each lane.
    const VecW twice = hn::ShiftLeft<1>(hn::And(magnitude, set(7)));
    const VecW places = hn::Or(hn::Or(twice, hn::ShiftLeft<8>(twice)), set(0x0100));
    const VecW subnormal = hn::BitCast(d, hn::TableLookupBytes(hn::BitCast(bytes, table), hn::BitCast(bytes, places)));
    // Below one unit of the exponent field the code is subnormal.
    VecW value = hn::IfThenElse(less(magnitude, set(1u << From::mantissa)), subnormal, normal);
    const VecW sign = hn::ShiftLeft<8>(hn::And(code, set(0x80)));
    // The fnuz types have one NaN, the code of -0, and no infinity.
    if constexpr (!From::negative_zero)
      return hn::IfThenElse(hn::Eq(code, set(From::nan)), set(nan), hn::Or(value, sign));
    if constexpr (From::overflow > From::largest)
      value = hn::IfThenElse(hn::Eq(magnitude, set(From::overflow)), set(infinity), value);
    // Codes above the largest number and infinity are NaN.
    return hn::Or(hn::IfThenElse(less(set(HWY_MAX(From::largest, From::overflow)), magnitude), set(nan), value), sign);
  };
  const hn::Rebind<std::uint8_t, U16> codes;
  const std::size_t lanes = hn::Lanes(d);
  const auto vector = [&](std::size_t i) { return recoded(hn::PromoteTo(d, hn::LoadU(codes, from + i))); };
  const auto cached = [&](std::size_t begin, std::size_t some) {
    std::size_t i = 0;
    for (; i + lanes <= some; i += lanes) hn::StoreU(vector(begin + i), d, to + begin + i);
    if (i == some) return;
    HWY_ALIGN std::uint8_t padded[HWY_MAX_BYTES / 2] = {};
    HWY_ALIGN std::uint16_t few[HWY_MAX_BYTES / 2];
    std::memcpy(padded, from + begin + i, some - i);
    hn::Store(recoded(hn::PromoteTo(d, hn::Load(codes, padded))), d, few);
    std::memcpy(to + begin + i, few, (some - i) * sizeof *to);
  };
  if (!can_stream(to, streaming)) return cached(0, count);
  stream_vectors(to, count, lanes, [&](std::size_t i) { hn::Stream(vector(i), d, to + i); }, cached);
}
#endif

// Recodes through f32 in registers.
template <class From, class To>
void recode(const std::byte* from_bytes, std::byte* to, std::size_t count, bool streaming) {
  const auto* from = reinterpret_cast<const typename From::Code*>(from_bytes);
  narrow_vectors<To>(
      reinterpret_cast<typename To::Code*>(to), count, streaming,
      [&](std::size_t i) { return load_widened<From>(from + i); },
      [&](std::size_t i, std::size_t few) {
        // widen_few() reads only the run; the lanes after it are zeros and are not stored.
        HWY_ALIGN float widened[HWY_MAX_BYTES / sizeof(float)] = {};
        widen_few<From>(from + i, widened, few);
        return hn::Load(F32(), widened);
      });
}

// Recodes an f8 type in the narrowest lanes that give exact results.
template <class From, class To, int ToMantissa, int ToBias>
void recode_f8(const std::byte* from, std::byte* to, std::size_t count, bool streaming) {
#if HWY_TARGET != HWY_SCALAR
  // Lanes of 16 bits convert twice as many elements as f32 does. E5M2FNUZ to f16 does not qualify and goes through
  // f32.
  if constexpr (Recoded<From, ToMantissa, ToBias>::in_lanes)
    return recode_lanes<From, ToMantissa, ToBias>(reinterpret_cast<const std::uint8_t*>(from),
                                                  reinterpret_cast<std::uint16_t*>(to), count, streaming);
#endif
  recode<From, To>(from, to, count, streaming);
}

template <class To, int ToMantissa, int ToBias>
void recode_to(DType type, const std::byte* from, std::byte* to, std::size_t count, bool streaming) {
  switch (type) {
    case DType::f16: return recode<Half, To>(from, to, count, streaming);
    case DType::bf16: return recode<Bfloat, To>(from, to, count, streaming);
    case DType::f8_e4m3: return recode_f8<E4m3, To, ToMantissa, ToBias>(from, to, count, streaming);
    case DType::f8_e5m2: return recode_f8<E5m2, To, ToMantissa, ToBias>(from, to, count, streaming);
    case DType::f8_e4m3fnuz: return recode_f8<E4m3fnuz, To, ToMantissa, ToBias>(from, to, count, streaming);
    case DType::f8_e5m2fnuz: return recode_f8<E5m2fnuz, To, ToMantissa, ToBias>(from, to, count, streaming);
    default: return recode<E8m0, To>(from, to, count, streaming);
  }
}

void Recode(DType from_type, DType to_type, const std::byte* from, std::byte* to, std::size_t count, bool streaming) {
  if (to_type == DType::f16)
    recode_to<Half, 10, 15>(from_type, from, to, count, streaming);
  else
    recode_to<Bfloat, 7, 127>(from_type, from, to, count, streaming);
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

void Narrow(DType type, const std::byte* from, std::byte* to, std::size_t count, bool streaming) {
  switch (type) {
    case DType::f16: return narrow<Half>(from, to, count, streaming);
    case DType::bf16: return narrow<Bfloat>(from, to, count, streaming);
    case DType::f8_e4m3: return narrow<E4m3>(from, to, count, streaming);
    case DType::f8_e5m2: return narrow<E5m2>(from, to, count, streaming);
    case DType::f8_e4m3fnuz: return narrow<E4m3fnuz>(from, to, count, streaming);
    case DType::f8_e5m2fnuz: return narrow<E5m2fnuz>(from, to, count, streaming);
    default: return narrow<E8m0>(from, to, count, streaming);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heft::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heft::kernels {

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

void recode_run(DType from_type, DType to_type, const std::byte* from, std::byte* to, std::size_t count,
                Store store) noexcept {
  HWY_DYNAMIC_DISPATCH(Recode)(from_type, to_type, from, to, count, store == Store::streaming);
}

void widen_run(DType from_type, const std::byte* from, std::byte* to, std::size_t count, Store store) noexcept {
  HWY_DYNAMIC_DISPATCH(Widen)(from_type, from, to, count, store == Store::streaming);
}

void narrow_run(DType to_type, const std::byte* from, std::byte* to, std::size_t count, Store store) noexcept {
  HWY_DYNAMIC_DISPATCH(Narrow)(to_type, from, to, count, store == Store::streaming);
}

}  // namespace heft::kernels
#endif
