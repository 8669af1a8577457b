// Kernels for ggml's blocks; dequant_legacy.cpp and dequant_k.cpp describe the layouts. Compiled once for each target
// by foreach_target.h.
//
// Quants are widened to 32 bits when they are loaded, and split there. That is twice the work of splitting bytes, and
// still less than storing the result. Products and sums are rounded one by one as in the scalar code; MulAdd would give
// other bits. Results are rounded to `To` (Single, Half, Bfloat) while they are in a register.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dequant_simd.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which sets what highway.h reads.
#include <hwy/highway.h>

#include "kernels/blocks-inl.hpp"
#include "kernels/code_books.hpp"
#include "kernels/dequant_simd.hpp"

HWY_BEFORE_NAMESPACE();
namespace heft::kernels {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE VecI low_nibble(VecI bytes) { return hn::And(bytes, integer(15)); }
HWY_INLINE VecI high_nibble(VecI bytes) { return hn::ShiftRight<4>(bytes); }
/// Returns `count` bits of each lane, from bit `shift`.
HWY_INLINE VecI field(VecI bytes, int shift, int count) {
  return hn::And(hn::ShiftRightSame(bytes, shift), integer((1 << count) - 1));
}

// ---- 32 elements ----

/// Returns the vector of quants that starts at element l, of 16 bytes whose low nibbles come before their high ones.
HWY_INLINE VecI nibbles(Block quants, int l) {
  // `l` is a multiple of the number of lanes, at most 16, so a vector never spans both halves.
  return l < 16 ? low_nibble(bytes_at(quants + l)) : high_nibble(bytes_at(quants + l - 16));
}
/// As nibbles(), with bit 4 of each quant from `high`.
HWY_INLINE VecI five_bits(Block quants, std::uint32_t high, int l) {
  return hn::Or(nibbles(quants, l), where_set(high >> l, 16));
}

template <class To>
HWY_INLINE void Q4_0(Block block, typename To::Code* y) {
  const VecF d = splat(f16_at(block));
  // Quants are unsigned in the file; 8 is the zero.
  store_32<To>(y, [&](int l) HEFT_VALUE { return hn::Mul(floats(hn::Sub(nibbles(block + 2, l), integer(8))), d); });
}

template <class To>
HWY_INLINE void Q4_1(Block block, typename To::Code* y) {
  const VecF d = splat(f16_at(block));
  const VecF m = splat(f16_at(block + 2));
  // Not MulAdd: the product is rounded before the sum, as in the scalar code.
  store_32<To>(y, [&](int l) HEFT_VALUE { return hn::Add(hn::Mul(floats(nibbles(block + 4, l)), d), m); });
}

template <class To>
HWY_INLINE void Q5_0(Block block, typename To::Code* y) {
  const VecF d = splat(f16_at(block));
  const std::uint32_t high = scalar::u32_at(block + 2);
  store_32<To>(
      y, [&](int l) HEFT_VALUE { return hn::Mul(floats(hn::Sub(five_bits(block + 6, high, l), integer(16))), d); });
}

template <class To>
HWY_INLINE void Q5_1(Block block, typename To::Code* y) {
  const VecF d = splat(f16_at(block));
  const VecF m = splat(f16_at(block + 2));
  const std::uint32_t high = scalar::u32_at(block + 4);
  store_32<To>(y, [&](int l) HEFT_VALUE { return hn::Add(hn::Mul(floats(five_bits(block + 8, high, l)), d), m); });
}

/// Stores 32 signed bytes, each multiplied by the scale of its half.
template <class To>
HWY_INLINE void scale_bytes(const std::int8_t* from, Halves scales, typename To::Code* y) {
  store_32<To>(y, [&](int l) HEFT_VALUE { return hn::Mul(floats(bytes_at(from + l)), scales[l]); });
}

template <class To>
HWY_INLINE void Q8_0(Block block, typename To::Code* y) {
  const VecF d = splat(f16_at(block));
  scale_bytes<To>(reinterpret_cast<const std::int8_t*>(block + 2), {d, d}, y);
}

// ---- one or two bits per element ----

template <class To>
HWY_INLINE void Q1_0(Block block, typename To::Code* y) {
  const VecF d = splat(f16_at(block));
  for (int i = 0; i < 4; ++i, y += 32) {
    // A clear bit is -d: the sign bit of d is flipped in those lanes.
    const std::uint32_t minus = ~scalar::u32_at(block + 2 + 4 * i);
    store_32<To>(y, [&](int l) HEFT_VALUE { return hn::Xor(d, signs_in_lanes(minus >> l)); });
  }
}

template <class To>
HWY_INLINE void Q2_0(Block block, typename To::Code* y) {
  const VecF d = splat(f16_at(block));
  for (int i = 0; i < 2; ++i, y += 32) {
    const Block words = block + 2 + 8 * i;  // of 16 quants
    store_32<To>(y, [&](int l) HEFT_VALUE {
      // Sixteen quants are one word of 32 bits: each lane shifts its own to the bottom.
      const VecI word = integer(static_cast<int>(scalar::u32_at(words + l / 16 * 4)));
      const VecI q = hn::And(hn::Shr(word, hn::ShiftLeft<1>(hn::Iota(I32(), l % 16))), integer(3));
      return hn::Mul(floats(hn::Sub(q, integer(1))), d);
    });
  }
}

template <class To>
HWY_INLINE void Tq2_0(Block block, typename To::Code* y) {
  const VecF d = splat(f16_at(block + 64));
  for (int part = 0; part < 8; ++part, y += 32) {
    // Four parts of 32 elements share 32 bytes, two bits of each.
    const Block quants = block + 32 * (part / 4);
    store_32<To>(y, [&](int l) HEFT_VALUE {
      return hn::Mul(floats(hn::Sub(field(bytes_at(quants + l), 2 * (part % 4), 2), integer(1))), d);
    });
  }
}

// ---- levels: a nibble is an index into 16 bytes ----

using SixteenBytes = hn::CappedTag<std::uint8_t, 16>;

/// Looks up the levels of 16 bytes of quants: those of the low nibbles of `half` bytes, then of their high nibbles, and
/// so on.
template <int half>
HWY_INLINE void look_up(const std::int8_t* table, Block quants, std::int8_t* levels) {
#if HWY_TARGET == HWY_SCALAR
  for (int j = 0; j < 16; ++j) {
    // The low nibbles of each `half` bytes come first, then the high ones of the same bytes.
    std::int8_t* const to = levels + j / half * 2 * half + j % half;
    to[0] = table[quants[j] & 15];
    to[half] = table[quants[j] >> 4];
  }
#else
  const SixteenBytes d;
  const hn::Repartition<std::uint64_t, SixteenBytes> d64;
  const auto rows = hn::LoadU(d, reinterpret_cast<const std::uint8_t*>(table));
  const auto bytes = hn::LoadU(d, quants);
  // Both nibbles of 16 bytes are looked up at once; the table fills one vector of 16 bytes.
  const auto low = hn::TableLookupBytes(rows, hn::And(bytes, hn::Set(d, 15)));
  const auto high = hn::TableLookupBytes(rows, hn::ShiftRight<4>(bytes));
  auto* const to = reinterpret_cast<std::uint8_t*>(levels);
  if constexpr (half == 16) {
    hn::StoreU(low, d, to);
    hn::StoreU(high, d, to + 16);
  } else {
    // NVFP4's groups have 8 bytes: the halves of both results alternate, so that each group of 16 elements is
    // contiguous.
    const auto low_halves = hn::BitCast(d64, low);
    const auto high_halves = hn::BitCast(d64, high);
    hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, low_halves, high_halves)), d, to);
    hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, low_halves, high_halves)), d, to + 16);
  }
#endif
}

template <class To>
HWY_INLINE void levels_32(const std::int8_t* table, Block quants, float scale, typename To::Code* y) {
  HWY_ALIGN std::int8_t levels[32];
  look_up<16>(table, quants, levels);
  scale_bytes<To>(levels, {splat(scale), splat(scale)}, y);
}

template <class To>
HWY_INLINE void Iq4Nl(Block block, typename To::Code* y) {
  levels_32<To>(scalar::iq4_levels, block + 2, f16_at(block), y);
}

template <class To>
HWY_INLINE void Mxfp4(Block block, typename To::Code* y) {
  levels_32<To>(scalar::fp4_levels, block + 1, scalar::e8m0_half(block[0]), y);
}

template <class To>
HWY_INLINE void Nvfp4(Block block, typename To::Code* y) {
  HWY_ALIGN std::int8_t levels[32];
  for (int s = 0; s < 4; s += 2, y += 32) {
    // 16 bytes are two groups with a scale each, the two halves of 32 elements.
    look_up<8>(scalar::fp4_levels, block + 4 + 8 * s, levels);
    scale_bytes<To>(levels, {splat(scalar::ue4m3_half(block[s])), splat(scalar::ue4m3_half(block[s + 1]))}, y);
  }
}

template <class To>
HWY_INLINE void Iq4Xs(Block block, typename To::Code* y) {
  const float d = f16_at(block);
  for (int i = 0; i < 8; ++i) {
    const float dl = d * static_cast<float>(scalar::iq4_xs_scale(block, i));
    levels_32<To>(scalar::iq4_levels, block + 8 + 16 * i, dl, y + 32 * i);
  }
}

// ---- superblocks of 256 elements, in eight parts of 32 ----

template <class To>
HWY_INLINE void Q2K(Block block, typename To::Code* y) {
  const float d = f16_at(block + 80);
  const float dmin = f16_at(block + 82);
  for (int part = 0; part < 8; ++part, y += 32) {
    const Block scales = block + 2 * part;
    const Block quants = block + 16 + 32 * (part / 4);
    // Each scale and minimum is one product, rounded before it meets the elements, as in the scalar code.
    const Halves dl{splat(d * static_cast<float>(scales[0] & 15)), splat(d * static_cast<float>(scales[1] & 15))};
    const Halves ml{splat(dmin * static_cast<float>(scales[0] >> 4)), splat(dmin * static_cast<float>(scales[1] >> 4))};
    store_32<To>(y, [&](int l) HEFT_VALUE {
      return hn::Sub(hn::Mul(dl[l], floats(field(bytes_at(quants + l), 2 * (part % 4), 2))), ml[l]);
    });
  }
}

template <class To>
HWY_INLINE void Q3K(Block block, typename To::Code* y) {
  const float d = f16_at(block + 108);
  for (int part = 0; part < 8; ++part, y += 32) {
    const auto scale = [&](int i) { return d * static_cast<float>(scalar::q3_scale(block + 96, 2 * part + i)); };
    const Block quants = block + 32 + 32 * (part / 4);
    const Halves dl{splat(scale(0)), splat(scale(1))};
    store_32<To>(y, [&](int l) HEFT_VALUE {
      const VecI low = field(bytes_at(quants + l), 2 * (part % 4), 2);
      // The bit is stored inverted: clear it stands for -4, set for 0. So it counts 4, and 4 is subtracted from all.
      const VecI high = hn::ShiftLeft<2>(field(bytes_at(block + l), part, 1));
      return hn::Mul(dl[l], floats(hn::Sub(hn::Or(low, high), integer(4))));
    });
  }
}

/// The scale and the minimum of 32 elements of Q4_K and Q5_K.
struct ScaleMin {
  VecF scale, min;
};

HWY_INLINE ScaleMin scale_min(Block block, float d, float dmin, int part) {
  // The packed codes are taken apart in scalar code: eight pairs for 256 elements.
  const scalar::ScaleMin codes = scalar::scale_min(block + 4, part);
  return {splat(d * static_cast<float>(codes.scale)), splat(dmin * static_cast<float>(codes.min))};
}

template <class To>
HWY_INLINE void Q4K(Block block, typename To::Code* y) {
  const float d = f16_at(block);
  const float dmin = f16_at(block + 2);
  for (int part = 0; part < 8; part += 2, y += 64) {
    // `part` counts by two: two parts share 32 bytes, the low nibbles being the first.
    const Block quants = block + 16 + 16 * part;
    const ScaleMin low = scale_min(block, d, dmin, part);
    const ScaleMin high = scale_min(block, d, dmin, part + 1);
    store_32<To>(y, [&](int l) HEFT_VALUE {
      return hn::Sub(hn::Mul(low.scale, floats(low_nibble(bytes_at(quants + l)))), low.min);
    });
    store_32<To>(y + 32, [&](int l) HEFT_VALUE {
      return hn::Sub(hn::Mul(high.scale, floats(high_nibble(bytes_at(quants + l)))), high.min);
    });
  }
}

template <class To>
HWY_INLINE void Q5K(Block block, typename To::Code* y) {
  const float d = f16_at(block);
  const float dmin = f16_at(block + 2);
  // Bit `part` of byte l is bit 4 of element l of that part.
  const auto fifth = [&](int part, int l)
                         HEFT_VALUE { return hn::ShiftLeft<4>(field(bytes_at(block + 16 + l), part, 1)); };
  for (int part = 0; part < 8; part += 2, y += 64) {
    const Block quants = block + 48 + 16 * part;
    const ScaleMin low = scale_min(block, d, dmin, part);
    const ScaleMin high = scale_min(block, d, dmin, part + 1);
    store_32<To>(y, [&](int l) HEFT_VALUE {
      const VecI q = hn::Or(low_nibble(bytes_at(quants + l)), fifth(part, l));
      return hn::Sub(hn::Mul(low.scale, floats(q)), low.min);
    });
    store_32<To>(y + 32, [&](int l) HEFT_VALUE {
      const VecI q = hn::Or(high_nibble(bytes_at(quants + l)), fifth(part + 1, l));
      return hn::Sub(hn::Mul(high.scale, floats(q)), high.min);
    });
  }
}

template <class To>
HWY_INLINE void Q6K(Block block, typename To::Code* y) {
  const float d = f16_at(block + 208);
  for (int part = 0; part < 8; ++part, y += 32) {
    const int half = part / 4;
    const int quarter = part % 4;
    // Quarters 0 and 2, and 1 and 3, share bytes of `low`; all four of a half share those of `high`.
    const Block low = block + 64 * half + 32 * (quarter % 2);
    const Block high = block + 128 + 32 * half;
    const auto scale = [&](int i) { return d * static_cast<float>(scalar::i8_at(block + 192 + 2 * part + i)); };
    const Halves scales{splat(scale(0)), splat(scale(1))};
    store_32<To>(y, [&](int l) HEFT_VALUE {
      const VecI q = hn::Or(field(bytes_at(low + l), 4 * (quarter / 2), 4),
                            hn::ShiftLeft<4>(field(bytes_at(high + l), 2 * quarter, 2)));
      return hn::Mul(scales[l], floats(hn::Sub(q, integer(32))));
    });
  }
}

// Decodes blocks of `dtype` to elements of To.
template <class To>
void decode(DType dtype, const std::byte* blocks, std::size_t count, std::byte* bytes) {
  auto* const out = reinterpret_cast<typename To::Code*>(bytes);  // written only by unaligned stores
  switch (dtype) {
    case DType::q4_0: return HEFT_EACH(Q4_0);
    case DType::q4_1: return HEFT_EACH(Q4_1);
    case DType::q5_0: return HEFT_EACH(Q5_0);
    case DType::q5_1: return HEFT_EACH(Q5_1);
    case DType::q8_0: return HEFT_EACH(Q8_0);
    case DType::q1_0: return HEFT_EACH(Q1_0);
    case DType::q2_0: return HEFT_EACH(Q2_0);
    case DType::tq2_0: return HEFT_EACH(Tq2_0);
    case DType::q2_k: return HEFT_EACH(Q2K);
    case DType::q3_k: return HEFT_EACH(Q3K);
    case DType::q4_k: return HEFT_EACH(Q4K);
    case DType::q5_k: return HEFT_EACH(Q5K);
    case DType::q6_k: return HEFT_EACH(Q6K);
    case DType::iq4_nl: return HEFT_EACH(Iq4Nl);
    case DType::iq4_xs: return HEFT_EACH(Iq4Xs);
    case DType::mxfp4: return HEFT_EACH(Mxfp4);
    case DType::nvfp4: return HEFT_EACH(Nvfp4);
    default: return;
  }
}

void Decode(DType from, DType to, const std::byte* blocks, std::size_t count, std::byte* out) {
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

HWY_EXPORT(Decode);

bool has_block_kernel(DType from, DType to) noexcept {
  // Other types are narrowed from f32 by Conversion.
  if (to != DType::f32 && to != DType::f16 && to != DType::bf16) return false;
  if (has_code_book_kernel(from)) return true;
  switch (from) {
    case DType::q4_0:
    case DType::q4_1:
    case DType::q5_0:
    case DType::q5_1:
    case DType::q8_0:
    case DType::q1_0:
    case DType::q2_0:
    case DType::tq2_0:
    case DType::q2_k:
    case DType::q3_k:
    case DType::q4_k:
    case DType::q5_k:
    case DType::q6_k:
    case DType::iq4_nl:
    case DType::iq4_xs:
    case DType::mxfp4:
    case DType::nvfp4: return true;
    default: return false;
  }
}

void decode_blocks(DType from, DType to, const std::byte* blocks, std::size_t block_count, std::byte* out) noexcept {
  if (has_code_book_kernel(from)) return decode_code_books(from, to, blocks, block_count, out);
  HWY_DYNAMIC_DISPATCH(Decode)(from, to, blocks, block_count, out);
}

}  // namespace heft::kernels
#endif
