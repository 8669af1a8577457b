// Kernels for ggml's blocks of code book vectors; dequant_iq.cpp describes the layouts. Compiled once for each target
// by foreach_target.h.
//
// The vectors of 32 elements are looked up one by one and stored side by side in a buffer of bytes. The buffer is then
// decoded as the bytes of other block types are.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/code_books.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which sets what highway.h reads.
#include <hwy/highway.h>

#include <bit>
#include <cstring>

#include "core/endian.hpp"
#include "kernels/blocks-inl.hpp"
#include "kernels/code_books.hpp"
#include "kernels/dequant_tables.hpp"

HWY_BEFORE_NAMESPACE();
namespace heft::kernels {
namespace HWY_NAMESPACE {
namespace {

using scalar::eight_signs;
using scalar::odd_scale;
using scalar::u16_at;
using scalar::u32_at;

/// Stores a vector of a code book, whose first element is its least significant byte.
template <class Vector>
HWY_INLINE void put(Vector vector, std::uint8_t* to) {
  // The tables are numbers, so their bytes in memory are in the host's order.
  if constexpr (std::endian::native == std::endian::big) vector = core::byte_swapped(vector);
  std::memcpy(to, &vector, sizeof vector);
}

/// Stores 32 products of magnitude, scale of its half, and sign from a bit.
template <class To>
HWY_INLINE void store_signed(const std::uint8_t* magnitudes, std::uint32_t signs, Halves scales, typename To::Code* y) {
  store_32<To>(y, [&](int l) HEFT_VALUE {
    // Flipping the sign bit of the product equals multiplying it by -1, as ggml does.
    return hn::Xor(hn::Mul(scales[l], floats(bytes_at(magnitudes + l))), signs_in_lanes(signs >> l));
  });
}

/// Stores 32 elements of -1, 0 or 1, each moved by delta (by -delta where its bit is set) and multiplied by the scale
/// of its half.
template <class To>
HWY_INLINE void store_moved(const std::uint8_t* elements, std::uint32_t negative, Halves scales, typename To::Code* y) {
  // The elements are -1, 0 and 1, so these bytes are widened with their sign.
  const auto* const from = reinterpret_cast<const std::int8_t*>(elements);
  store_32<To>(y, [&](int l) HEFT_VALUE {
    const VecF delta = hn::Xor(splat(scalar::iq1_delta), signs_in_lanes(negative >> l));
    return hn::Mul(scales[l], hn::Add(floats(bytes_at(from + l)), delta));
  });
}

HWY_INLINE Halves both(float scale) { return {splat(scale), splat(scale)}; }

/// Returns 32 signs from four groups of seven bits.
HWY_INLINE std::uint32_t signs_of(std::uint32_t word) {
  std::uint32_t signs = 0;
  // Seven bits for each group; the eighth makes the number of set bits even.
  for (int l = 0; l < 4; ++l) signs |= eight_signs((word >> (7 * l)) & 127) << (8 * l);
  return signs;
}

/// Returns the scales of 32 elements from the two nibbles of a byte.
HWY_INLINE Halves iq2_scales(float d, std::uint8_t nibbles) {
  // The products in ggml's order, once for each half of 32 elements.
  return {splat(d * (0.5f + static_cast<float>(nibbles & 15)) * 0.25f),
          splat(d * (0.5f + static_cast<float>(nibbles >> 4)) * 0.25f)};
}

/// Decodes groups of 32 elements: 8 bytes from one group's indexes in `grid` to the next one's, `step` bytes from one
/// word of signs and scale to the next. `unit` is ggml's factor of the scales.
template <class To, class Grid>
HWY_INLINE void decode_xxs(const Grid& grid, Block block, Block words, int step, float unit, typename To::Code* y) {
  constexpr int vector_bytes = sizeof(typename Grid::value_type);
  const float d = f16_at(block);
  HWY_ALIGN std::uint8_t magnitudes[32];
  for (int i = 0; i < 8; ++i) {
    const std::uint32_t word = u32_at(words + step * i);
    // Lookups are scalar, because the tables are too large for byte shuffles. The arithmetic that follows works on
    // vectors.
    for (int l = 0; l < 32 / vector_bytes; ++l) put(grid[block[2 + 8 * i + l]], magnitudes + vector_bytes * l);
    const float db = d * (0.5f + static_cast<float>(word >> 28)) * unit;
    store_signed<To>(magnitudes, signs_of(word), both(db), y + 32 * i);
  }
}

template <class To>
HWY_INLINE void Iq2Xxs(Block block, typename To::Code* y) {
  decode_xxs<To>(iq2xxs_grid, block, block + 6, 8, 0.25f, y);
}

template <class To>
HWY_INLINE void Iq3Xxs(Block block, typename To::Code* y) {
  decode_xxs<To>(iq3xxs_grid, block, block + 66, 4, 0.5f, y);
}

template <class To>
HWY_INLINE void Iq2Xs(Block block, typename To::Code* y) {
  const float d = f16_at(block);
  HWY_ALIGN std::uint8_t magnitudes[32];
  for (int i = 0; i < 8; ++i) {
    std::uint32_t signs = 0;
    for (int l = 0; l < 4; ++l) {
      // Nine bits of index and seven of signs.
      const std::uint32_t quant = u16_at(block + 2 + 8 * i + 2 * l);
      put(iq2xs_grid[quant & 511], magnitudes + 8 * l);
      signs |= eight_signs(quant >> 9) << (8 * l);
    }
    store_signed<To>(magnitudes, signs, iq2_scales(d, block[66 + i]), y + 32 * i);
  }
}

template <class To>
HWY_INLINE void Iq2S(Block block, typename To::Code* y) {
  const float d = f16_at(block);
  HWY_ALIGN std::uint8_t magnitudes[32];
  for (int i = 0; i < 8; ++i) {
    const std::uint32_t high = block[66 + i];
    for (int l = 0; l < 4; ++l)
      // Bits 2l and 2l + 1 of `high` are bits 8 and 9 of index l.
      put(iq2s_grid[block[2 + 4 * i + l] | ((high << (8 - 2 * l)) & 0x300)], magnitudes + 8 * l);
    store_signed<To>(magnitudes, u32_at(block + 34 + 4 * i), iq2_scales(d, block[74 + i]), y + 32 * i);
  }
}

template <class To>
HWY_INLINE void Iq3S(Block block, typename To::Code* y) {
  const float d = f16_at(block);
  HWY_ALIGN std::uint8_t magnitudes[32];
  for (int i = 0; i < 8; ++i) {
    // A nibble of scale for each 32 elements.
    const int nibble = (block[106 + i / 2] >> (4 * (i % 2))) & 15;
    const std::uint32_t high = block[66 + i];
    for (int l = 0; l < 8; ++l) put(iq3s_grid[block[2 + 8 * i + l] | ((high >> l) & 1) << 8], magnitudes + 4 * l);
    store_signed<To>(magnitudes, u32_at(block + 74 + 4 * i), both(d * static_cast<float>(1 + 2 * nibble)), y + 32 * i);
  }
}

template <class To>
HWY_INLINE void Iq1S(Block block, typename To::Code* y) {
  const float d = f16_at(block);
  HWY_ALIGN std::uint8_t elements[32];
  for (int i = 0; i < 8; ++i) {
    const std::uint32_t high = u16_at(block + 34 + 2 * i);
    for (int l = 0; l < 4; ++l) put(iq1s_grid[block[2 + 4 * i + l] | ((high >> (3 * l)) & 7) << 8], elements + 8 * l);
    // Bit 15 is the sign of delta for all 32 elements.
    store_moved<To>(elements, (high & 0x8000) != 0 ? ~0u : 0u, both(odd_scale(d, high >> 12)), y + 32 * i);
  }
}

template <class To>
HWY_INLINE void Iq1M(Block block, typename To::Code* y) {
  const float d = scalar::iq1_m_d(block);
  HWY_ALIGN std::uint8_t elements[32];
  for (int i = 0; i < 8; ++i) {
    std::uint32_t negative = 0;
    for (int l = 0; l < 4; ++l) {
      const std::uint32_t high = block[32 + 2 * i + l / 2] >> (4 * (l % 2));
      put(iq1s_grid[block[4 * i + l] | (high & 7) << 8], elements + 8 * l);
      // The sign of delta holds for the eight elements of a vector: one bit becomes eight.
      negative |= ((high >> 3) & 1) * 0xFFu << (8 * l);
    }
    // Two scales of three bits, for the two halves of 32 elements.
    const std::uint32_t scales = scalar::iq1_m_scales(block, i / 2) >> (6 * (i % 2));
    store_moved<To>(elements, negative, {splat(odd_scale(d, scales)), splat(odd_scale(d, scales >> 3))}, y + 32 * i);
  }
}

// Decodes blocks of `dtype` to elements of To.
template <class To>
void decode(DType dtype, const std::byte* blocks, std::size_t count, std::byte* bytes) {
  auto* const out = reinterpret_cast<typename To::Code*>(bytes);  // written only by unaligned stores
  switch (dtype) {
    case DType::iq1_s: return HEFT_EACH(Iq1S);
    case DType::iq1_m: return HEFT_EACH(Iq1M);
    case DType::iq2_xxs: return HEFT_EACH(Iq2Xxs);
    case DType::iq2_xs: return HEFT_EACH(Iq2Xs);
    case DType::iq2_s: return HEFT_EACH(Iq2S);
    case DType::iq3_xxs: return HEFT_EACH(Iq3Xxs);
    case DType::iq3_s: return HEFT_EACH(Iq3S);
    default: return;
  }
}

void DecodeCodeBooks(DType from, DType to, const std::byte* blocks, std::size_t count, std::byte* out) {
  switch (to) {
    case DType::f16: return decode<Half>(from, blocks, count, out);
    case DType::bf16: return decode<Bfloat>(from, blocks, count, out);
    default: return decode<Single>(from, blocks, count, out);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heft::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heft::kernels {

HWY_EXPORT(DecodeCodeBooks);

bool has_code_book_kernel(DType from) noexcept {
  switch (from) {
    case DType::iq1_s:
    case DType::iq1_m:
    case DType::iq2_xxs:
    case DType::iq2_xs:
    case DType::iq2_s:
    case DType::iq3_xxs:
    case DType::iq3_s: return true;
    default: return false;
  }
}

void decode_code_books(DType from, DType to, const std::byte* blocks, std::size_t block_count,
                       std::byte* out) noexcept {
  HWY_DYNAMIC_DISPATCH(DecodeCodeBooks)(from, to, blocks, block_count, out);
}

}  // namespace heft::kernels
#endif
