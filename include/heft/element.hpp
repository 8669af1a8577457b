// heft/element.hpp: the element types that C++20 has no type for. Each holds `bits` and converts explicitly.
//
// Narrowing rounds to nearest, ties to even. NaN stays NaN (its payload may change). Overflow:
//   f16, bf16, f8_e5m2      to infinity, as in IEEE 754;
//   f8_e4m3, *fnuz          saturates to the largest finite value of that sign, because these have no infinity (OCP
//                           OFP8 section 5.2, "saturating" mode; infinity saturates as well);
//   f8_e8m0                 a power of two, without sign and zero: negative numbers and NaN become NaN; others round to
//                           the nearest power (ties to the even exponent) and saturate at 2^-127 and 2^127.
#pragma once

#include <bit>
#include <complex>
#include <cstdint>
#include <type_traits>

#include "heft/dtype.hpp"
#include "heft/export.hpp"

namespace heft {

// Widening and narrowing of one element, by bits. Widening to f32 is exact for every finite value. The vector kernels
// of materialize() are tested against these functions, bit for bit. All are pure and may be called from several
// threads.

/// Converts binary16 to f32: exact; a NaN keeps its payload and becomes quiet.
HEFT_API float f16_to_f32(std::uint16_t bits) noexcept;
/// Converts f32 to binary16: magnitudes from 65520 on become infinity, those below 2^-25 zero of the same sign.
HEFT_API std::uint16_t f32_to_f16(float value) noexcept;
/// Converts bf16 to f32: the bits become the upper half. Exact, NaN payloads included.
HEFT_API float bf16_to_f32(std::uint16_t bits) noexcept;
/// Converts f32 to bf16: rounds the lower half away. A NaN gets its quiet bit set, because rounding its payload could
/// make it an infinity.
HEFT_API std::uint16_t f32_to_bf16(float value) noexcept;
/// Converts an 8-bit float to f32. Requires that `dtype` is one of the f8_* types, or f4_e2m1 (the low nibble of
/// `bits`).
HEFT_API float f8_to_f32(DType dtype, std::uint8_t bits) noexcept;
/// Converts f32 to an 8-bit float, rounded and saturated as the head of this file states. Requires one of the f8_*
/// types.
HEFT_API std::uint8_t f32_to_f8(DType dtype, float value) noexcept;

/// A float of 16 or 8 bits, that of the DType `D`: one of the types below.
///
/// Example:
///   const heft::f16 half{0.1f};                        // rounds to 0.0999755859375
///   const float wide = static_cast<float>(half);       // exact
///   const bool same = half == heft::f16{wide};         // compares bits
template <DType D>
struct NarrowFloat {
  /// 16 bits in the host's byte order, or the 8 bits as they lie in the file.
  std::conditional_t<D == DType::f16 || D == DType::bf16, std::uint16_t, std::uint8_t> bits = 0;
  /// Code 0: positive zero, or 2^-127 for f8_e8m0.
  NarrowFloat() noexcept = default;
  /// Rounds and saturates as the head of this file states; never implicit.
  explicit NarrowFloat(float value) noexcept {
    if constexpr (D == DType::f16)
      bits = f32_to_f16(value);
    else if constexpr (D == DType::bf16)
      bits = f32_to_bf16(value);
    else
      bits = f32_to_f8(D, value);
  }
  /// Widens: exact.
  explicit operator float() const noexcept {
    if constexpr (D == DType::f16)
      return f16_to_f32(bits);
    else if constexpr (D == DType::bf16)
      return bf16_to_f32(bits);
    else
      return f8_to_f32(D, bits);
  }
  /// Compares bits.
  friend bool operator==(NarrowFloat, NarrowFloat) noexcept = default;
};

/// IEEE 754 binary16: 1 sign bit, 5 of exponent (bias 15), 10 of fraction; max 65504.
using f16 = NarrowFloat<DType::f16>;
/// bfloat16, the upper half of an IEEE 754 binary32: 1 sign bit, 8 of exponent (bias 127), 7 of fraction.
using bf16 = NarrowFloat<DType::bf16>;
/// Bias 7, no infinity, NaN is x111'1111, max 448 ("e4m3fn").
using f8_e4m3 = NarrowFloat<DType::f8_e4m3>;
/// Bias 15, infinities and NaN as IEEE, max 57344.
using f8_e5m2 = NarrowFloat<DType::f8_e5m2>;
/// Bias 8, no infinity, no -0, only 0x80 is NaN, max 240.
using f8_e4m3fnuz = NarrowFloat<DType::f8_e4m3fnuz>;
/// Bias 16, no infinity, no -0, only 0x80 is NaN, max 57344.
using f8_e5m2fnuz = NarrowFloat<DType::f8_e5m2fnuz>;
/// 2^(bits - 127); 0xFF is NaN.
using f8_e8m0 = NarrowFloat<DType::f8_e8m0>;

/// A boolean of a file: one byte of any value. C++ bool has only two representations, and others are undefined
/// behaviour.
struct boolean {
  std::uint8_t bits = 0;
  /// True unless the byte is 0.
  explicit operator bool() const noexcept { return bits != 0; }
  /// Compares bits.
  friend bool operator==(boolean, boolean) noexcept = default;
};

/// The DType of a C++ element type: dtype_of<bf16> == DType::bf16. DType::unknown for all types that are not listed
/// here.
template <class T>
inline constexpr DType dtype_of = DType::unknown;
// Booleans are the file's byte, never C++ bool.
template <>
inline constexpr DType dtype_of<boolean> = DType::boolean;
template <>
inline constexpr DType dtype_of<std::uint8_t> = DType::u8;
template <>
inline constexpr DType dtype_of<std::int8_t> = DType::i8;
template <>
inline constexpr DType dtype_of<std::uint16_t> = DType::u16;
template <>
inline constexpr DType dtype_of<std::int16_t> = DType::i16;
template <>
inline constexpr DType dtype_of<std::uint32_t> = DType::u32;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::i32;
template <>
inline constexpr DType dtype_of<std::uint64_t> = DType::u64;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::i64;
// Reals: f32 and f64 are float and double, the narrower ones carry their DType.
template <DType D>
inline constexpr DType dtype_of<NarrowFloat<D>> = D;
template <>
inline constexpr DType dtype_of<float> = DType::f32;
template <>
inline constexpr DType dtype_of<double> = DType::f64;
// Complex numbers: std::complex has the layout of the files, real then imaginary part ([complex.numbers.general]).
template <>
inline constexpr DType dtype_of<std::complex<float>> = DType::c64;
template <>
inline constexpr DType dtype_of<std::complex<double>> = DType::c128;

/// C++ types that can view weights: those with a DType. TensorView::as<T>() and Slice<T> require it.
template <class T>
concept Element = dtype_of<T> != DType::unknown;

}  // namespace heft
