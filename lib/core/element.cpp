#include "heft/element.hpp"

#include <algorithm>
#include <array>

namespace heft {
namespace {

// A binary float of at most 16 bits: sign, exponent, then `mantissa` bits; value = 1.m x 2^(e - bias), subnormal at e =
// 0.
struct Layout {
  int mantissa;
  int bias;
  std::uint32_t sign;      // the sign bit
  std::uint32_t largest;   // code of the largest finite magnitude
  std::uint32_t overflow;  // code that larger magnitudes become: infinity, or `largest` where there is none
  std::uint32_t nan;
  bool negative_zero;  // the *fnuz types use that code for NaN
};

constexpr Layout half{10, 15, 0x8000, 0x7BFF, 0x7C00, 0x7E00, true};
constexpr Layout e4m3{3, 7, 0x80, 0x7E, 0x7E, 0x7F, true};
constexpr Layout e5m2{2, 15, 0x80, 0x7B, 0x7C, 0x7E, true};
constexpr Layout e4m3fnuz{3, 8, 0x80, 0x7F, 0x7F, 0x80, false};
constexpr Layout e5m2fnuz{2, 16, 0x80, 0x7F, 0x7F, 0x80, false};

constexpr std::uint32_t f32_sign = 0x8000'0000;
constexpr std::uint32_t f32_infinity = 0x7F80'0000;
constexpr std::uint32_t f32_nan = 0x7FC0'0000;

// Returns `significand` / 2^shift, rounded to nearest, ties to even.
constexpr std::uint32_t rounded_shift(std::uint32_t significand, int shift) {
  if (shift > 25) return 0;
  const std::uint32_t kept = significand >> shift;
  const std::uint32_t rest = significand & ((1u << shift) - 1);
  const std::uint32_t middle = 1u << (shift - 1);
  return kept + (rest > middle || (rest == middle && (kept & 1)) ? 1 : 0);
}

constexpr std::uint32_t narrow(const Layout& to, std::uint32_t bits) {
  const std::uint32_t magnitude = bits & ~f32_sign;
  const std::uint32_t sign = bits & f32_sign ? to.sign : 0;
  if (magnitude > f32_infinity) return to.nan == to.sign ? to.nan : (to.nan | sign);
  if (magnitude == f32_infinity) return to.overflow | sign;
  // f32 subnormals need no case: they lie far below the smallest subnormal of every target and round to zero.
  const int exponent = static_cast<int>(magnitude >> 23) - 127 + to.bias;
  const std::uint32_t significand = (magnitude & 0x7F'FFFF) | (magnitude >> 23 ? 0x80'0000 : 0);
  const int shift = 23 - to.mantissa + (exponent < 1 ? 1 - exponent : 0);
  const std::uint32_t base = exponent < 1 ? 0 : static_cast<std::uint32_t>(exponent - 1) << to.mantissa;
  std::uint32_t code = base + rounded_shift(significand, shift);  // the leading bit carries into the exponent field
  if (code > to.largest) code = to.overflow;
  if (code == 0 && !to.negative_zero) return 0;
  return code | sign;
}

constexpr float widen(const Layout& from, std::uint32_t code) {
  const std::uint32_t magnitude = code & (from.sign - 1);
  const std::uint32_t sign = code & from.sign ? f32_sign : 0;
  if (!from.negative_zero && code == from.nan) return std::bit_cast<float>(f32_nan);
  if (magnitude > from.largest)
    return std::bit_cast<float>(sign | (magnitude == from.overflow ? f32_infinity : f32_nan));
  const std::uint32_t exponent = magnitude >> from.mantissa;
  const std::uint32_t mantissa = magnitude & ((1u << from.mantissa) - 1);
  if (exponent != 0)
    return std::bit_cast<float>(sign | (exponent + 127 - static_cast<std::uint32_t>(from.bias)) << 23 |
                                mantissa << (23 - from.mantissa));
  // A subnormal is mantissa x 2^(1 - bias - mantissa bits), which f32 represents exactly.
  const auto unit = std::bit_cast<float>(static_cast<std::uint32_t>(127 + 1 - from.bias - from.mantissa) << 23);
  const float value = static_cast<float>(mantissa) * unit;
  return sign ? -value : value;
}

constexpr float e8m0_to_f32(std::uint8_t code) {
  if (code == 0xFF) return std::bit_cast<float>(f32_nan);
  return std::bit_cast<float>(code == 0 ? 0x0040'0000u : std::uint32_t{code} << 23);
}

constexpr std::uint8_t f32_to_e8m0(std::uint32_t bits) {
  const std::uint32_t magnitude = bits & ~f32_sign;
  if (magnitude > f32_infinity || bits > f32_sign) return 0xFF;
  if (magnitude < 0x0080'0000) return magnitude > 0x0060'0000 ? 1 : 0;  // f32 subnormals: 2^-127 is the smallest code
  std::uint32_t code = magnitude >> 23;
  const std::uint32_t rest = magnitude & 0x7F'FFFF;
  if (rest > 0x40'0000 || (rest == 0x40'0000 && (code & 1))) ++code;
  return static_cast<std::uint8_t>(std::min(code, 254u));
}

constexpr std::array<float, 8> f4_magnitudes = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6};

}  // namespace

float f16_to_f32(std::uint16_t bits) noexcept {
  // widen() maps infinity, which lies above `largest`. A NaN keeps its payload, as F16C instructions do.
  const std::uint32_t magnitude = bits & 0x7FFFu;
  if (magnitude > half.overflow)
    return std::bit_cast<float>((bits & 0x8000u) << 16 | f32_nan | (magnitude & 0x3FFu) << 13);
  return widen(half, bits);
}

std::uint16_t f32_to_f16(float value) noexcept {
  return static_cast<std::uint16_t>(narrow(half, std::bit_cast<std::uint32_t>(value)));
}

float bf16_to_f32(std::uint16_t bits) noexcept { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

std::uint16_t f32_to_bf16(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  // Truncation would turn a NaN whose payload lies only in the lower half into infinity, so the quiet bit is set.
  if ((bits & ~f32_sign) > f32_infinity) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

float f8_to_f32(DType dtype, std::uint8_t bits) noexcept {
  switch (dtype) {
    case DType::f8_e4m3: return widen(e4m3, bits);
    case DType::f8_e5m2: return widen(e5m2, bits);
    case DType::f8_e4m3fnuz: return widen(e4m3fnuz, bits);
    case DType::f8_e5m2fnuz: return widen(e5m2fnuz, bits);
    case DType::f8_e8m0: return e8m0_to_f32(bits);
    case DType::f4_e2m1: return bits & 8 ? -f4_magnitudes[bits & 7] : f4_magnitudes[bits & 7];
    default: return std::bit_cast<float>(f32_nan);
  }
}

std::uint8_t f32_to_f8(DType dtype, float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  switch (dtype) {
    case DType::f8_e4m3: return static_cast<std::uint8_t>(narrow(e4m3, bits));
    case DType::f8_e5m2: return static_cast<std::uint8_t>(narrow(e5m2, bits));
    case DType::f8_e4m3fnuz: return static_cast<std::uint8_t>(narrow(e4m3fnuz, bits));
    case DType::f8_e5m2fnuz: return static_cast<std::uint8_t>(narrow(e5m2fnuz, bits));
    case DType::f8_e8m0: return f32_to_e8m0(bits);
    default: return 0;
  }
}

}  // namespace heft
