// kernels/dequant_scalar.hpp: one function for each of ggml's block types, which decodes one block to f32.
#pragma once

#include <bit>
#include <cstdint>

#include "heft/element.hpp"

namespace heft::kernels::scalar {

using Block = const std::uint8_t*;

inline std::uint16_t u16_at(Block from) noexcept { return static_cast<std::uint16_t>(from[0] | from[1] << 8); }
inline std::uint32_t u32_at(Block from) noexcept { return u16_at(from) | std::uint32_t{u16_at(from + 2)} << 16; }
/// f16_to_f32() as an inline function, because decoding a block of 32 elements takes less time than a call.
inline float f16_at(Block from) noexcept {
  const std::uint32_t code = u16_at(from);
  const std::uint32_t sign = (code & 0x8000u) << 16;
  const std::uint32_t exponent = code & 0x7C00u;
  // 112 is the difference of the biases, 127 and 15. Subnormals are multiplied by their unit, 2^-24; the exponent of
  // all ones is infinity or NaN.
  std::uint32_t bits = ((code & 0x7FFFu) << 13) + (112u << 23);
  if (exponent == 0) bits = std::bit_cast<std::uint32_t>(static_cast<float>(code & 0x3FFu) * 0x1p-24f);
  if (exponent == 0x7C00u) bits = (code & 0x3FFu) != 0 ? 0x7FC0'0000u : 0x7F80'0000u;
  return std::bit_cast<float>(bits | sign);
}
inline int i8_at(Block from) noexcept { return static_cast<std::int8_t>(*from); }

// Blocks of 32 to 128 elements (dequant_legacy.cpp). Each function writes info(dtype).block_elements floats to `y`.
void q4_0(Block block, float* y) noexcept;
void q4_1(Block block, float* y) noexcept;
void q5_0(Block block, float* y) noexcept;
void q5_1(Block block, float* y) noexcept;
void q8_0(Block block, float* y) noexcept;
void q8_1(Block block, float* y) noexcept;
void q1_0(Block block, float* y) noexcept;
void q2_0(Block block, float* y) noexcept;
void iq4_nl(Block block, float* y) noexcept;
void mxfp4(Block block, float* y) noexcept;
void nvfp4(Block block, float* y) noexcept;

// Superblocks of 256 elements whose groups have scales (dequant_k.cpp).
void q2_k(Block block, float* y) noexcept;
void q3_k(Block block, float* y) noexcept;
void q4_k(Block block, float* y) noexcept;
void q5_k(Block block, float* y) noexcept;
void q6_k(Block block, float* y) noexcept;
void q8_k(Block block, float* y) noexcept;
void iq4_xs(Block block, float* y) noexcept;
void tq1_0(Block block, float* y) noexcept;
void tq2_0(Block block, float* y) noexcept;

// Superblocks of 256 elements with code books (dequant_iq.cpp).
void iq2_xxs(Block block, float* y) noexcept;
void iq2_xs(Block block, float* y) noexcept;
void iq2_s(Block block, float* y) noexcept;
void iq3_xxs(Block block, float* y) noexcept;
void iq3_s(Block block, float* y) noexcept;
void iq1_s(Block block, float* y) noexcept;
void iq1_m(Block block, float* y) noexcept;

/// The 16 levels of IQ4_NL and IQ4_XS, and those of FP4 (E2M1), doubled so that they are integers.
inline constexpr std::int8_t iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr std::int8_t fp4_levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// Returns half of 2^(code - 127), because FP4 levels are doubled. The results of codes 0 and 1 are subnormal.
float e8m0_half(std::uint8_t code) noexcept;
/// Returns half of an unsigned E4M3 scale; 0 for the codes 0 and 0x7F.
float ue4m3_half(std::uint8_t code) noexcept;

/// A six-bit scale and minimum. scale_min() returns number `j` (0 to 7) from the 12 bytes of Q4_K and Q5_K.
struct ScaleMin {
  std::uint8_t scale;
  std::uint8_t min;
};
constexpr ScaleMin scale_min(Block scales, int j) noexcept {
  // Numbers 0 to 3 lie in the low six bits of bytes 0 to 3 (scales) and 4 to 7 (minimums). Numbers 4 to 7 have their
  // low four bits in bytes 8 to 11, and their high two bits in the upper bits of bytes 0 to 7.
  const auto pick = [](int low, int high) { return static_cast<std::uint8_t>(low | (high >> 6) << 4); };
  if (j < 4) return {static_cast<std::uint8_t>(scales[j] & 63), static_cast<std::uint8_t>(scales[j + 4] & 63)};
  return {pick(scales[j + 4] & 15, scales[j - 4]), pick(scales[j + 4] >> 4, scales[j])};
}

/// Returns six-bit scale number `i` (0 to 15) from the 12 bytes of a Q3_K block, in -32 to 31.
constexpr int q3_scale(Block scales, int i) noexcept {
  // Bytes 0 to 7 have the low four bits of two scales each, bytes 8 to 11 the high two bits of four.
  const int low = i < 8 ? scales[i] & 15 : scales[i - 8] >> 4;
  const int high = (scales[8 + i % 4] >> (2 * (i / 4))) & 3;
  return (low | high << 4) - 32;
}

/// Returns six-bit scale number `i` (0 to 7) of an IQ4_XS block, in -32 to 31.
inline int iq4_xs_scale(Block block, int i) noexcept {
  // A nibble of its own, and two bits of the u16 that all eight scales share.
  const int low = (block[4 + i / 2] >> (4 * (i % 2))) & 15;
  const int high = (u16_at(block + 2) >> (2 * i)) & 3;
  return (low | high << 4) - 32;
}

/// Returns eight sign bits from the seven that are stored; the eighth makes the number of set bits even.
constexpr std::uint32_t eight_signs(std::uint32_t seven) noexcept {
  return seven | static_cast<std::uint32_t>(std::popcount(seven) & 1) << 7;
}

/// IQ1_S and IQ1_M add it to, or subtract it from, the elements of a vector.
inline constexpr float iq1_delta = 0.125f;

/// Returns d * (2 s + 1), where s is the lowest three bits.
constexpr float odd_scale(float d, std::uint32_t bits) noexcept { return d * static_cast<float>(2 * (bits & 7) + 1); }

/// Returns u16 number `i` (0 to 3) of an IQ1_M block: 12 bits of scales, then 4 bits of the block's f16.
inline std::uint32_t iq1_m_scales(Block block, int i) noexcept { return u16_at(block + 48 + 2 * i); }
inline float iq1_m_d(Block block) noexcept {
  // The f16 is spread over the upper four bits of the four words, the lowest nibble in the first.
  const auto nibble = [block](int i) { return (iq1_m_scales(block, i) >> 12) << (4 * i); };
  const std::uint32_t bits = nibble(0) | nibble(1) | nibble(2) | nibble(3);
  const std::uint8_t bytes[2] = {static_cast<std::uint8_t>(bits), static_cast<std::uint8_t>(bits >> 8)};
  return f16_at(bytes);
}

}  // namespace heft::kernels::scalar
