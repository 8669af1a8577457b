// Kernels for ggml's blocks; layouts are described in dequant_plain.cpp and dequant_k.cpp. Compiled once for each target by foreach_target.h.
//
// Quants are widened to 32 bits as they are loaded and taken apart there: twice the work of taking bytes apart, and still less than storing the
// result. Products and sums are those of the scalar code, one rounding each: MulAdd would give other bits.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "materialize/kernels_dequant.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which sets what highway.h reads.
#include <hwy/highway.h>

#include "materialize/dequant_scalar.hpp"
#include "materialize/kernels_dequant.hpp"

HWY_BEFORE_NAMESPACE();
namespace heft::engine {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using scalar::Block;
using scalar::f16_at;

// No more lanes than the smallest group has elements, so that no kernel has a remainder.
using F32 = hn::CappedTag<float, 16>;
using I32 = hn::RebindToSigned<F32>;
using VecF = hn::Vec<F32>;
using VecI = hn::Vec<I32>;
constexpr int group = 16;

HWY_INLINE int lanes() { return static_cast<int>(hn::Lanes(F32())); }
HWY_INLINE VecI constant(int value) { return hn::Set(I32(), value); }
HWY_INLINE VecF splat(float value) { return hn::Set(F32(), value); }

HWY_INLINE VecI bytes_at(const std::uint8_t* from) {
  return hn::PromoteTo(I32(), hn::LoadU(hn::Rebind<std::uint8_t, F32>(), from));
}
HWY_INLINE VecI bytes_at(const std::int8_t* from) {
  return hn::PromoteTo(I32(), hn::LoadU(hn::Rebind<std::int8_t, F32>(), from));
}
HWY_INLINE VecI low_nibble(VecI bytes) { return hn::And(bytes, constant(15)); }
HWY_INLINE VecI high_nibble(VecI bytes) { return hn::ShiftRight<4>(bytes); }
/// `count` bits from bit `shift` on.
HWY_INLINE VecI field(VecI bytes, int shift, int count) {
  return hn::And(hn::ShiftRightSame(bytes, shift), constant((1 << count) - 1));
}
HWY_INLINE VecF floats(VecI quants) { return hn::ConvertTo(F32(), quants); }
/// Bit i of `bits` in lane i: 16 where it is set.
HWY_INLINE VecI fifth_bits(std::uint32_t bits) {
  const VecI masks = hn::Shl(constant(1), hn::Iota(I32(), 0));
  return hn::IfThenElseZero(hn::TestBit(constant(static_cast<int>(bits)), masks), constant(16));
}

// ---- 32 elements ----

HWY_INLINE void Q4_0(Block block, float* y) {
  const VecF d = splat(f16_at(block));
  for (int j = 0; j < group; j += lanes()) {
    const VecI quants = bytes_at(block + 2 + j);
    hn::StoreU(hn::Mul(floats(hn::Sub(low_nibble(quants), constant(8))), d), F32(), y + j);
    hn::StoreU(hn::Mul(floats(hn::Sub(high_nibble(quants), constant(8))), d), F32(), y + j + group);
  }
}

HWY_INLINE void Q4_1(Block block, float* y) {
  const VecF d = splat(f16_at(block));
  const VecF m = splat(f16_at(block + 2));
  for (int j = 0; j < group; j += lanes()) {
    const VecI quants = bytes_at(block + 4 + j);
    hn::StoreU(hn::Add(hn::Mul(floats(low_nibble(quants)), d), m), F32(), y + j);
    hn::StoreU(hn::Add(hn::Mul(floats(high_nibble(quants)), d), m), F32(), y + j + group);
  }
}

HWY_INLINE void Q5_0(Block block, float* y) {
  const VecF d = splat(f16_at(block));
  const std::uint32_t high = scalar::u32_at(block + 2);
  for (int j = 0; j < group; j += lanes()) {
    const VecI quants = bytes_at(block + 6 + j);
    const VecI first = hn::Or(low_nibble(quants), fifth_bits(high >> j));
    const VecI second = hn::Or(high_nibble(quants), fifth_bits(high >> (j + group)));
    hn::StoreU(hn::Mul(floats(hn::Sub(first, constant(16))), d), F32(), y + j);
    hn::StoreU(hn::Mul(floats(hn::Sub(second, constant(16))), d), F32(), y + j + group);
  }
}

HWY_INLINE void Q5_1(Block block, float* y) {
  const VecF d = splat(f16_at(block));
  const VecF m = splat(f16_at(block + 2));
  const std::uint32_t high = scalar::u32_at(block + 4);
  for (int j = 0; j < group; j += lanes()) {
    const VecI quants = bytes_at(block + 8 + j);
    const VecI first = hn::Or(low_nibble(quants), fifth_bits(high >> j));
    const VecI second = hn::Or(high_nibble(quants), fifth_bits(high >> (j + group)));
    hn::StoreU(hn::Add(hn::Mul(floats(first), d), m), F32(), y + j);
    hn::StoreU(hn::Add(hn::Mul(floats(second), d), m), F32(), y + j + group);
  }
}

/// `count` signed bytes times a scale.
HWY_INLINE void scale_bytes(const std::int8_t* from, int count, float scale, float* y) {
  const VecF d = splat(scale);
  for (int j = 0; j < count; j += lanes()) hn::StoreU(hn::Mul(floats(bytes_at(from + j)), d), F32(), y + j);
}

HWY_INLINE void Q8_0(Block block, float* y) {
  scale_bytes(reinterpret_cast<const std::int8_t*>(block + 2), 32, f16_at(block), y);
}

// ---- levels: a nibble is the number of one of 16 bytes ----

using Half = hn::CappedTag<std::uint8_t, 8>;
using Whole = hn::CappedTag<std::uint8_t, 16>;

/// The levels of the low nibbles of `count` quants, then those of the high ones. `Table` has 16 lanes and `Bytes` `count`, but for targets
/// without vectors.
template <int count, class Table, class Bytes>
HWY_INLINE void look_up(Table t, Bytes d, const std::int8_t* table, Block quants, std::int8_t* levels) {
  if constexpr (hn::MaxLanes(d) < count) {
    for (int j = 0; j < count; ++j) {
      levels[j] = table[quants[j] & 15];
      levels[j + count] = table[quants[j] >> 4];
    }
  } else {
    const auto rows = hn::LoadU(t, reinterpret_cast<const std::uint8_t*>(table));
    const auto nibbles = hn::LoadU(d, quants);
    auto* to = reinterpret_cast<std::uint8_t*>(levels);
    hn::StoreU(hn::TableLookupBytes(rows, hn::And(nibbles, hn::Set(d, 15))), d, to);
    hn::StoreU(hn::TableLookupBytes(rows, hn::ShiftRight<4>(nibbles)), d, to + count);
  }
}

HWY_INLINE void levels_32(const std::int8_t* table, Block quants, float scale, float* y) {
  HWY_ALIGN std::int8_t levels[32];
  look_up<16>(Whole(), Whole(), table, quants, levels);
  scale_bytes(levels, 32, scale, y);
}

HWY_INLINE void Iq4Nl(Block block, float* y) { levels_32(scalar::iq4_levels, block + 2, f16_at(block), y); }

HWY_INLINE void Mxfp4(Block block, float* y) {
  levels_32(scalar::fp4_levels, block + 1, scalar::e8m0_half(block[0]), y);
}

HWY_INLINE void Nvfp4(Block block, float* y) {
  HWY_ALIGN std::int8_t levels[16];
  for (int s = 0; s < 4; ++s) {
    look_up<8>(Whole(), Half(), scalar::fp4_levels, block + 4 + 8 * s, levels);
    scale_bytes(levels, 16, scalar::ue4m3_half(block[s]), y + 16 * s);
  }
}

HWY_INLINE void Iq4Xs(Block block, float* y) {
  const float d = f16_at(block);
  for (int i = 0; i < 8; ++i) {
    const float dl = d * static_cast<float>(scalar::iq4_xs_scale(block, i));
    levels_32(scalar::iq4_levels, block + 8 + 16 * i, dl, y + 32 * i);
  }
}

// ---- 256 elements ----

HWY_INLINE void Q2K(Block block, float* y) {
  const float d = f16_at(block + 80);
  const float dmin = f16_at(block + 82);
  for (int i = 0; i < 16; ++i, y += group) {
    const VecF dl = splat(d * static_cast<float>(block[i] & 15));
    const VecF ml = splat(dmin * static_cast<float>(block[i] >> 4));
    const Block quants = block + 16 + 32 * (i / 8) + 16 * (i % 2);
    for (int l = 0; l < group; l += lanes()) {
      const VecI q = field(bytes_at(quants + l), 2 * (i % 8 / 2), 2);
      hn::StoreU(hn::Sub(hn::Mul(dl, floats(q)), ml), F32(), y + l);
    }
  }
}

HWY_INLINE void Q3K(Block block, float* y) {
  const float d = f16_at(block + 108);
  for (int i = 0; i < 16; ++i, y += group) {
    const VecF dl = splat(d * static_cast<float>(scalar::q3_scale(block + 96, i)));
    const Block high = block + 16 * (i % 2);
    const Block quants = block + 32 + 32 * (i / 8) + 16 * (i % 2);
    for (int l = 0; l < group; l += lanes()) {
      const VecI low = field(bytes_at(quants + l), 2 * (i % 8 / 2), 2);
      const VecI q = hn::Sub(hn::Or(low, hn::ShiftLeft<2>(field(bytes_at(high + l), i / 2, 1))), constant(4));
      hn::StoreU(hn::Mul(dl, floats(q)), F32(), y + l);
    }
  }
}

/// Two groups of 32 that share their bytes: the scales and minima of both.
struct Pair {
  VecF first_scale, first_min, second_scale, second_min;
};

HWY_INLINE Pair scale_pair(Block block, int pair) {
  const float d = f16_at(block);
  const float dmin = f16_at(block + 2);
  const scalar::ScaleMin first = scalar::scale_min(block + 4, 2 * pair);
  const scalar::ScaleMin second = scalar::scale_min(block + 4, 2 * pair + 1);
  return {splat(d * static_cast<float>(first.scale)), splat(dmin * static_cast<float>(first.min)),
          splat(d * static_cast<float>(second.scale)), splat(dmin * static_cast<float>(second.min))};
}

HWY_INLINE void Q4K(Block block, float* y) {
  for (int pair = 0; pair < 4; ++pair, y += 64) {
    const Pair by = scale_pair(block, pair);
    for (int l = 0; l < 32; l += lanes()) {
      const VecI quants = bytes_at(block + 16 + 32 * pair + l);
      hn::StoreU(hn::Sub(hn::Mul(by.first_scale, floats(low_nibble(quants))), by.first_min), F32(), y + l);
      hn::StoreU(hn::Sub(hn::Mul(by.second_scale, floats(high_nibble(quants))), by.second_min), F32(), y + l + 32);
    }
  }
}

HWY_INLINE void Q5K(Block block, float* y) {
  for (int pair = 0; pair < 4; ++pair, y += 64) {
    const Pair by = scale_pair(block, pair);
    for (int l = 0; l < 32; l += lanes()) {
      const VecI quants = bytes_at(block + 48 + 32 * pair + l);
      const VecI high = field(bytes_at(block + 16 + l), 2 * pair, 2);
      const VecI first = hn::Or(low_nibble(quants), hn::ShiftLeft<4>(hn::And(high, constant(1))));
      const VecI second = hn::Or(high_nibble(quants), hn::ShiftLeft<3>(hn::And(high, constant(2))));
      hn::StoreU(hn::Sub(hn::Mul(by.first_scale, floats(first)), by.first_min), F32(), y + l);
      hn::StoreU(hn::Sub(hn::Mul(by.second_scale, floats(second)), by.second_min), F32(), y + l + 32);
    }
  }
}

/// A six-bit quant in -32 to 31 from its nibble and its two high bits, in place; times a scale.
HWY_INLINE void store_six_bits(VecI low, VecI high, VecF scale, float* y) {
  hn::StoreU(hn::Mul(scale, floats(hn::Sub(hn::Or(low, high), constant(32)))), F32(), y);
}

// 16 elements of each quarter of a half share the bytes of their high bits.
HWY_INLINE void Q6K(Block block, float* y) {
  const float d = f16_at(block + 208);
  for (int i = 0; i < 4; ++i) {
    const int half = i / 2;
    const int begin = 16 * (i % 2);
    const Block scales = block + 192 + 8 * half + i % 2;
    const auto scale = [&](int quarter) HWY_ATTR { return splat(d * static_cast<float>(scalar::i8_at(scales + 2 * quarter))); };
    const VecF scale_0 = scale(0), scale_1 = scale(1), scale_2 = scale(2), scale_3 = scale(3);
    for (int l = begin; l < begin + group; l += lanes()) {
      const VecI even = bytes_at(block + 64 * half + l);
      const VecI odd = bytes_at(block + 64 * half + 32 + l);
      const VecI high = bytes_at(block + 128 + 32 * half + l);
      const VecI two = constant(3 << 4);
      float* to = y + 128 * half + l;
      store_six_bits(low_nibble(even), hn::And(hn::ShiftLeft<4>(high), two), scale_0, to);
      store_six_bits(low_nibble(odd), hn::And(hn::ShiftLeft<2>(high), two), scale_1, to + 32);
      store_six_bits(high_nibble(even), hn::And(high, two), scale_2, to + 64);
      store_six_bits(high_nibble(odd), hn::And(hn::ShiftRight<2>(high), two), scale_3, to + 96);
    }
  }
}

template <class Kernel>
HWY_INLINE void each(DType dtype, const std::byte* blocks, std::size_t count, float* out, Kernel kernel) {
  const DTypeInfo& row = info(dtype);
  const auto* block = reinterpret_cast<Block>(blocks);
  for (; count > 0; --count, block += row.block_bytes, out += row.block_elements) kernel(block, out);
}

#define HEFT_EACH(kernel) \
  each(dtype, blocks, count, out, [](Block block, float* y) HWY_ATTR { kernel(block, y); })

void Decode(DType dtype, const std::byte* blocks, std::size_t count, float* out) {
  switch (dtype) {
    case DType::q4_0: return HEFT_EACH(Q4_0);
    case DType::q4_1: return HEFT_EACH(Q4_1);
    case DType::q5_0: return HEFT_EACH(Q5_0);
    case DType::q5_1: return HEFT_EACH(Q5_1);
    case DType::q8_0: return HEFT_EACH(Q8_0);
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

#undef HEFT_EACH

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heft::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heft::engine {

HWY_EXPORT(Decode);

bool has_block_kernel(DType dtype) noexcept {
  switch (dtype) {
    case DType::q4_0:
    case DType::q4_1:
    case DType::q5_0:
    case DType::q5_1:
    case DType::q8_0:
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

void decode_blocks(DType dtype, const std::byte* blocks, std::size_t block_count, float* out) noexcept {
  HWY_DYNAMIC_DISPATCH(Decode)(dtype, blocks, block_count, out);
}

}  // namespace heft::engine
#endif
