// kernels/dequant_legacy.cpp: blocks of 32 to 128 elements: one to four scales, then the quants.
//
//   name    bytes of the block
//   q4_0    f16 d | 16 x two quants: the low nibbles are elements 0 to 15, the high ones 16 to 31
//   q4_1    f16 d | f16 m | as q4_0
//   q5_0    f16 d | u32 bit 4 of each quant | as q4_0           q5_1: with f16 m after d
//   q8_0    f16 d | 32 x i8                                     q8_1: with f16 sum after d
//   q1_0    f16 d | 128 bits                                    q2_0: f16 d | 64 x two bits
//   iq4_nl  f16 d | as q4_0, quants are levels
//   mxfp4   e8m0 scale | as q4_0, quants are E2M1
//   nvfp4   4 x ue4m3 scale | 4 x 8 bytes as q4_0 with halves of 8
#include <bit>

#include "kernels/dequant_scalar.hpp"

namespace heft::kernels::scalar {
namespace {

/// Returns bit 4 of a five-bit quant, shifted to its place.
int fifth_bit(std::uint32_t bits, int element) noexcept { return static_cast<int>((bits >> element) & 1u) << 4; }

// Decodes 32 signed bytes.
void i8_quants(float scale, Block quants, float* y) noexcept {
  for (int j = 0; j < 32; ++j) y[j] = static_cast<float>(i8_at(quants + j)) * scale;
}

/// Decodes `half` bytes of nibbles, which are indexes into `table`.
void levels(const std::int8_t* table, float scale, Block quants, int half, float* y) noexcept {
  for (int j = 0; j < half; ++j) {
    y[j] = static_cast<float>(table[quants[j] & 15]) * scale;
    y[j + half] = static_cast<float>(table[quants[j] >> 4]) * scale;
  }
}

}  // namespace

void q4_0(Block block, float* y) noexcept {
  const float d = f16_at(block);
  const Block quants = block + 2;
  for (int j = 0; j < 16; ++j) {
    // Quants are unsigned in the file; 8 is the zero.
    y[j] = static_cast<float>((quants[j] & 15) - 8) * d;
    y[j + 16] = static_cast<float>((quants[j] >> 4) - 8) * d;
  }
}

void q4_1(Block block, float* y) noexcept {
  const float d = f16_at(block);
  const float m = f16_at(block + 2);
  const Block quants = block + 4;
  for (int j = 0; j < 16; ++j) {
    // The product is rounded before the sum: this file is compiled without contraction to fused operations.
    y[j] = static_cast<float>(quants[j] & 15) * d + m;
    y[j + 16] = static_cast<float>(quants[j] >> 4) * d + m;
  }
}

void q5_0(Block block, float* y) noexcept {
  const float d = f16_at(block);
  // Bit j is the fifth bit of element j.
  const std::uint32_t high = u32_at(block + 2);
  const Block quants = block + 6;
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>(((quants[j] & 15) | fifth_bit(high, j)) - 16) * d;
    y[j + 16] = static_cast<float>(((quants[j] >> 4) | fifth_bit(high, j + 16)) - 16) * d;
  }
}

void q5_1(Block block, float* y) noexcept {
  const float d = f16_at(block);
  const float m = f16_at(block + 2);
  const std::uint32_t high = u32_at(block + 4);
  const Block quants = block + 8;
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>((quants[j] & 15) | fifth_bit(high, j)) * d + m;
    y[j + 16] = static_cast<float>((quants[j] >> 4) | fifth_bit(high, j + 16)) * d + m;
  }
}

void q8_0(Block block, float* y) noexcept { i8_quants(f16_at(block), block + 2, y); }

void q8_1(Block block, float* y) noexcept { i8_quants(f16_at(block), block + 4, y); }

void q1_0(Block block, float* y) noexcept {
  const float d = f16_at(block);
  // A set bit is d, a clear one -d.
  for (int j = 0; j < 128; ++j) y[j] = (block[2 + j / 8] >> (j % 8)) & 1 ? d : -d;
}

void q2_0(Block block, float* y) noexcept {
  const float d = f16_at(block);
  // The code 3 gives 2, as in ggml.
  for (int j = 0; j < 64; ++j) y[j] = static_cast<float>(((block[2 + j / 4] >> (2 * (j % 4))) & 3) - 1) * d;
}

void iq4_nl(Block block, float* y) noexcept { levels(iq4_levels, f16_at(block), block + 2, 16, y); }

void mxfp4(Block block, float* y) noexcept { levels(fp4_levels, e8m0_half(block[0]), block + 1, 16, y); }

void nvfp4(Block block, float* y) noexcept {
  for (int s = 0; s < 4; ++s) levels(fp4_levels, ue4m3_half(block[s]), block + 4 + 8 * s, 8, y + 16 * s);
}

float e8m0_half(std::uint8_t code) noexcept {
  // 2^-128 and 2^-127 have no exponent field, so their bit is in the mantissa. Code 255, NaN in the standard, is
  // 2^127, as in ggml.
  return std::bit_cast<float>(code < 2 ? 0x0020'0000u << code : static_cast<std::uint32_t>(code - 1) << 23);
}

float ue4m3_half(std::uint8_t code) noexcept {
  // 0x7F is NaN in the standard; ggml decodes it to 0.
  if (code == 0 || code == 0x7F) return 0.0f;
  const std::uint32_t exponent = (code >> 3) & 15u;
  const std::uint32_t mantissa = code & 7u;
  // The smallest subnormal of E4M3 is 2^-9, and this is half of it.
  if (exponent == 0) return static_cast<float>(mantissa) * 0x1p-10f;
  // The bias of E4M3 is 7, and one less halves the value.
  return std::bit_cast<float>((exponent + 127 - 8) << 23 | mantissa << 20);
}

}  // namespace heft::kernels::scalar
