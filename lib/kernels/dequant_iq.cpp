// kernels/dequant_iq.cpp: superblocks of 256 elements whose quants are indexes into a code book (dequant_tables.hpp).
//
//   name     bytes of the block (8 groups of 32 elements)
//   iq2_xxs  f16 d | 8 x { 4 x u8 vector | u32: 4 x 7 bits of signs, 4 bits of scale }
//   iq2_xs   f16 d | 32 x u16: 9 bits of vector, 7 of signs | 8 x two scale nibbles
//   iq2_s    f16 d | 32 x u8 vector | 32 x u8 signs | 8 x bits 8 and 9 of four vectors | 8 x two scale nibbles
//   iq3_xxs  f16 d | 64 x u8 vector of 4 | 8 x u32: 4 x 7 bits of signs, 4 bits of scale
//   iq3_s    f16 d | 64 x u8 vector of 4 | 8 x bit 8 of eight vectors | 32 x u8 signs | 4 x two scale nibbles
//   iq1_s    f16 d | 32 x u8 vector | 8 x u16: 4 x bits 8 to 10, 3 bits of scale, sign of delta
//   iq1_m    32 x u8 vector | 16 x (two x bits 8 to 10, sign of delta) | 4 x u16: 4 x 3 bits of scale, 4 bits of f16 d
#include "kernels/dequant_scalar.hpp"
#include "kernels/dequant_tables.hpp"

namespace heft::kernels::scalar {
namespace {

/// Decodes `count` elements of a vector of unsigned bytes, each with a sign bit.
void signed_vector(float scale, std::uint64_t vector, std::uint32_t signs, int count, float* y) noexcept {
  for (int j = 0; j < count; ++j) {
    // Element j is byte j of the number that the code book has for the vector.
    const float magnitude = scale * static_cast<float>((vector >> (8 * j)) & 255);
    y[j] = magnitude * ((signs >> j) & 1 ? -1.0f : 1.0f);
  }
}

/// Decodes eight elements of -1, 0 or 1, each moved by delta.
void moved_vector(float scale, std::uint64_t vector, float delta, float* y) noexcept {
  for (int j = 0; j < 8; ++j) {
    const auto element = static_cast<std::int8_t>(vector >> (8 * j));
    y[j] = scale * (static_cast<float>(element) + delta);
  }
}

}  // namespace

void iq2_xxs(Block block, float* y) noexcept {
  const float d = f16_at(block);
  for (int group = 0; group < 8; ++group) {
    const Block vectors = block + 2 + 8 * group;
    const std::uint32_t word = u32_at(vectors + 4);
    // The upper 4 bits of the word are the scale, the lower 28 the signs of four vectors. Constants and the order of
    // the products are ggml's.
    const float db = d * (0.5f + static_cast<float>(word >> 28)) * 0.25f;
    for (int l = 0; l < 4; ++l, y += 8)
      signed_vector(db, iq2xxs_grid[vectors[l]], eight_signs((word >> (7 * l)) & 127), 8, y);
  }
}

void iq2_xs(Block block, float* y) noexcept {
  const float d = f16_at(block);
  for (int i = 0; i < 32; ++i, y += 8) {
    // A byte has the scales of 32 elements: the low nibble that of the first two vectors, the high one that of the
    // others.
    const int nibble = (block[66 + i / 4] >> (i % 4 < 2 ? 0 : 4)) & 15;
    const float db = d * (0.5f + static_cast<float>(nibble)) * 0.25f;
    const std::uint32_t quant = u16_at(block + 2 + 2 * i);
    signed_vector(db, iq2xs_grid[quant & 511], eight_signs(quant >> 9), 8, y);
  }
}

void iq2_s(Block block, float* y) noexcept {
  const float d = f16_at(block);
  for (int i = 0; i < 32; ++i, y += 8) {
    const int nibble = (block[74 + i / 4] >> (i % 4 < 2 ? 0 : 4)) & 15;
    const float db = d * (0.5f + static_cast<float>(nibble)) * 0.25f;
    // Four vectors have bits 8 and 9 of their indexes in one byte, two bits for each.
    const std::uint32_t high = block[66 + i / 4];
    signed_vector(db, iq2s_grid[block[2 + i] | ((high << (8 - 2 * (i % 4))) & 0x300)], block[34 + i], 8, y);
  }
}

void iq3_xxs(Block block, float* y) noexcept {
  const float d = f16_at(block);
  for (int group = 0; group < 8; ++group) {
    const std::uint32_t word = u32_at(block + 66 + 4 * group);
    const float db = d * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
    for (int l = 0; l < 8; ++l, y += 4) {
      // Two vectors of four share eight signs, of which seven are stored.
      const std::uint32_t signs = eight_signs((word >> (7 * (l / 2))) & 127) >> (4 * (l % 2));
      signed_vector(db, iq3xxs_grid[block[2 + 8 * group + l]], signs, 4, y);
    }
  }
}

void iq3_s(Block block, float* y) noexcept {
  const float d = f16_at(block);
  for (int group = 0; group < 8; ++group) {
    const int nibble = (block[106 + group / 2] >> (4 * (group % 2))) & 15;
    const float db = d * static_cast<float>(1 + 2 * nibble);
    const std::uint32_t high = block[66 + group];
    for (int l = 0; l < 8; ++l, y += 4) {
      // Bit l of the byte is bit 8 of index l.
      const std::uint32_t vector = block[2 + 8 * group + l] | ((high >> l) & 1) << 8;
      signed_vector(db, iq3s_grid[vector], block[74 + 4 * group + l / 2] >> (4 * (l % 2)), 4, y);
    }
  }
}

void iq1_s(Block block, float* y) noexcept {
  const float d = f16_at(block);
  for (int group = 0; group < 8; ++group) {
    const std::uint32_t high = u16_at(block + 34 + 2 * group);
    // Bits 12 to 14 are the scale; bit 15 is the sign of delta, for all 32 elements.
    const float dl = odd_scale(d, high >> 12);
    const float delta = high & 0x8000 ? -iq1_delta : iq1_delta;
    for (int l = 0; l < 4; ++l, y += 8)
      moved_vector(dl, iq1s_grid[block[2 + 4 * group + l] | ((high >> (3 * l)) & 7) << 8], delta, y);
  }
}

void iq1_m(Block block, float* y) noexcept {
  const float d = iq1_m_d(block);
  for (int pair = 0; pair < 16; ++pair) {  // 16 elements share a scale, 8 a delta
    const float dl = odd_scale(d, iq1_m_scales(block, pair / 4) >> (3 * (pair % 4)));
    for (int l = 0; l < 2; ++l, y += 8) {
      // A nibble for each vector: three bits of its index and the sign of its delta.
      const std::uint32_t high = block[32 + pair] >> (4 * l);
      moved_vector(dl, iq1s_grid[block[2 * pair + l] | (high & 7) << 8], high & 8 ? -iq1_delta : iq1_delta, y);
    }
  }
}

}  // namespace heft::kernels::scalar
