// kernels/dequant_k.cpp: superblocks of 256 elements in groups of 16 or 32, each with a scale, which is multiplied by
// one or two f16 of the superblock.
//
//   name    bytes of the block
//   q2_k    16 x (scale, min) nibbles | 64 x four quants | f16 d | f16 dmin
//   q3_k    32 bytes: bit 2 of each quant, inverted | 64 x four quants | 12 bytes: 16 six-bit scales | f16 d
//   q4_k    f16 d | f16 dmin | 12 bytes: 8 six-bit (scale, min) | 128 x two quants
//   q5_k    f16 d | f16 dmin | 12 bytes as q4_k | 32 bytes: bit 4 of each quant | 128 x two quants
//   q6_k    128 x two low nibbles | 64 x four high pairs of bits | 16 x i8 scale | f16 d
//   q8_k    f32 d | 256 x i8 | 16 x i16 sum
//   iq4_xs  f16 d | u16 high bits of 8 scales | 4 bytes: low nibbles of those | 128 x two levels
//   tq1_0   48 x five base-3 digits | 4 x four of them | f16 d
//   tq2_0   64 x four quants | f16 d
#include <bit>

#include "kernels/dequant_scalar.hpp"

namespace heft::kernels::scalar {

// In each half of 128 elements, 32 bytes hold four quants each: the lowest two bits of all 32 bytes are the first 32
// elements, the next two bits the following 32, and so on.
void q2_k(Block block, float* y) noexcept {
  const Block scales = block;
  const float d = f16_at(block + 80);
  const float dmin = f16_at(block + 82);
  for (int group = 0; group < 16; ++group) {
    // Rounded once for the group, as in ggml: multiplying each element by both numbers would give other bits.
    const float dl = d * static_cast<float>(scales[group] & 15);
    const float ml = dmin * static_cast<float>(scales[group] >> 4);
    // Groups 0 to 7 use the first 32 bytes of quants: two groups side by side for each pair of bits.
    const Block quants = block + 16 + 32 * (group / 8) + 16 * (group % 2);
    const int shift = 2 * (group % 8 / 2);
    for (int l = 0; l < 16; ++l) *y++ = dl * static_cast<float>((quants[l] >> shift) & 3) - ml;
  }
}

void q3_k(Block block, float* y) noexcept {
  const float d = f16_at(block + 108);
  for (int group = 0; group < 16; ++group) {
    const float dl = d * static_cast<float>(q3_scale(block + 96, group));
    const Block high = block + 16 * (group % 2);
    const Block quants = block + 32 + 32 * (group / 8) + 16 * (group % 2);
    const int shift = 2 * (group % 8 / 2);
    const int bit = group / 2;
    for (int l = 0; l < 16; ++l)
      // Bit 2 is stored inverted: where it is clear, 4 is subtracted.
      *y++ = dl * static_cast<float>(((quants[l] >> shift) & 3) - ((high[l] >> bit) & 1 ? 0 : 4));
  }
}

void q4_k(Block block, float* y) noexcept {
  const float d = f16_at(block);
  const float dmin = f16_at(block + 2);
  for (int group = 0; group < 8; ++group) {
    const auto [scale, min] = scale_min(block + 4, group);
    const float d1 = d * static_cast<float>(scale);
    const float m1 = dmin * static_cast<float>(min);
    // Two groups share 32 bytes: the low nibbles are the first, the high ones the second.
    const Block quants = block + 16 + 32 * (group / 2);
    const int shift = 4 * (group % 2);
    for (int l = 0; l < 32; ++l) *y++ = d1 * static_cast<float>((quants[l] >> shift) & 15) - m1;
  }
}

void q5_k(Block block, float* y) noexcept {
  const float d = f16_at(block);
  const float dmin = f16_at(block + 2);
  const Block high = block + 16;
  for (int group = 0; group < 8; ++group) {
    const auto [scale, min] = scale_min(block + 4, group);
    const float d1 = d * static_cast<float>(scale);
    const float m1 = dmin * static_cast<float>(min);
    const Block quants = block + 48 + 32 * (group / 2);
    const int shift = 4 * (group % 2);
    for (int l = 0; l < 32; ++l)
      // Byte l of `high` has bit 4 of element l of every group: bit g is that of group g.
      *y++ = d1 * static_cast<float>(((quants[l] >> shift) & 15) + ((high[l] >> group) & 1) * 16) - m1;
  }
}

void q6_k(Block block, float* y) noexcept {
  const float d = f16_at(block + 208);
  for (int quarter = 0; quarter < 8; ++quarter) {  // 32 elements: half of 128, then quarter of that half
    const int half = quarter / 4;
    const int part = quarter % 4;
    const Block low = block + 64 * half + 32 * (part % 2);
    const Block high = block + 128 + 32 * half;
    const Block scales = block + 192 + 8 * half + 2 * part;
    for (int l = 0; l < 32; ++l) {
      // Four bits of each of two parts in a byte of `low`, two bits of each of four parts in a byte of `high`.
      const int quant = ((low[l] >> (4 * (part / 2))) & 15) | ((high[l] >> (2 * part)) & 3) << 4;
      *y++ = d * static_cast<float>(i8_at(scales + l / 16)) * static_cast<float>(quant - 32);
    }
  }
}

void q8_k(Block block, float* y) noexcept {
  const auto d = std::bit_cast<float>(u32_at(block));
  for (int j = 0; j < 256; ++j) y[j] = d * static_cast<float>(i8_at(block + 4 + j));
}

void iq4_xs(Block block, float* y) noexcept {
  const float d = f16_at(block);
  for (int group = 0; group < 8; ++group, y += 32) {
    const float dl = d * static_cast<float>(iq4_xs_scale(block, group));
    const Block quants = block + 8 + 16 * group;
    for (int j = 0; j < 16; ++j) {
      y[j] = dl * static_cast<float>(iq4_levels[quants[j] & 15]);
      y[j + 16] = dl * static_cast<float>(iq4_levels[quants[j] >> 4]);
    }
  }
}

namespace {

/// Decodes digit `n` of each of `count` bytes. A byte is a base-3 fraction: multiplying it by 3 moves the next digit
/// above the byte.
float* ternary_digit(Block bytes, int count, int n, float d, float* y) noexcept {
  constexpr std::uint8_t power_of_3[5] = {1, 3, 9, 27, 81};
  for (int j = 0; j < count; ++j) {
    // The product modulo 256 drops the digits before number n.
    const auto fraction = static_cast<std::uint8_t>(bytes[j] * power_of_3[n]);
    *y++ = static_cast<float>((fraction * 3 >> 8) - 1) * d;
  }
  return y;
}

}  // namespace

void tq1_0(Block block, float* y) noexcept {
  const float d = f16_at(block + 52);
  // Digit n of 32 bytes are 32 consecutive elements; 48 bytes are split into 32 and 16. The last 4 bytes have four
  // digits each: 240 + 16 elements.
  for (int n = 0; n < 5; ++n) y = ternary_digit(block, 32, n, d, y);
  for (int n = 0; n < 5; ++n) y = ternary_digit(block + 32, 16, n, d, y);
  for (int n = 0; n < 4; ++n) y = ternary_digit(block + 48, 4, n, d, y);
}

void tq2_0(Block block, float* y) noexcept {
  const float d = f16_at(block + 64);
  for (int group = 0; group < 8; ++group)
    for (int l = 0; l < 32; ++l)
      *y++ = static_cast<float>(((block[32 * (group / 4) + l] >> (2 * (group % 4))) & 3) - 1) * d;
}

}  // namespace heft::kernels::scalar
