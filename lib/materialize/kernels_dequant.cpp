// Kernels for ggml's blocks; layouts are described in dequant_plain.cpp and dequant_k.cpp. Compiled once for each target
// by foreach_target.h.
//
// Quants are widened to 32 bits as they are loaded and taken apart there: twice the work of taking bytes apart, and
// still less than storing the result. Products and sums are those of the scalar code, one rounding each: MulAdd would
// give other bits. What they give is rounded to `To` (Single, Half, Bfloat) while it is in a register.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "materialize/kernels_dequant.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which sets what highway.h reads.
#include <hwy/highway.h>

#include "materialize/dequant_scalar.hpp"
#include "materialize/kernels_dequant.hpp"
#include "materialize/kernels_narrow-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace heft::engine {
namespace HWY_NAMESPACE {
namespace {

using scalar::Block;
using scalar::f16_at;

using VecI = hn::Vec<I32>;
constexpr int group = 16;

HWY_INLINE int lanes() { return static_cast<int>(hn::Lanes(F32())); }
HWY_INLINE VecI integer(int value) { return hn::Set(I32(), value); }
HWY_INLINE VecF splat(float value) { return hn::Set(F32(), value); }

HWY_INLINE VecI bytes_at(const std::uint8_t* from) {
  return hn::PromoteTo(I32(), hn::LoadU(hn::Rebind<std::uint8_t, F32>(), from));
}
HWY_INLINE VecI bytes_at(const std::int8_t* from) {
  return hn::PromoteTo(I32(), hn::LoadU(hn::Rebind<std::int8_t, F32>(), from));
}
HWY_INLINE VecI low_nibble(VecI bytes) { return hn::And(bytes, integer(15)); }
HWY_INLINE VecI high_nibble(VecI bytes) { return hn::ShiftRight<4>(bytes); }
/// `count` bits from bit `shift` on.
HWY_INLINE VecI field(VecI bytes, int shift, int count) {
  return hn::And(hn::ShiftRightSame(bytes, shift), integer((1 << count) - 1));
}
HWY_INLINE VecF floats(VecI quants) { return hn::ConvertTo(F32(), quants); }
/// Bit i of `bits` in lane i: 16 where it is set.
HWY_INLINE VecI fifth_bits(std::uint32_t bits) {
  const VecI masks = hn::Shl(integer(1), hn::Iota(I32(), 0));
  return hn::IfThenElseZero(hn::TestBit(integer(static_cast<int>(bits)), masks), integer(16));
}

// ---- 32 elements ----

template <class To>
HWY_INLINE void Q4_0(Block block, typename To::Code* y) {
  const VecF d = splat(f16_at(block));
  for (int j = 0; j < group; j += lanes()) {
    const VecI quants = bytes_at(block + 2 + j);
    store_as<To>(hn::Mul(floats(hn::Sub(low_nibble(quants), integer(8))), d), y + j);
    store_as<To>(hn::Mul(floats(hn::Sub(high_nibble(quants), integer(8))), d), y + j + group);
  }
}

template <class To>
HWY_INLINE void Q4_1(Block block, typename To::Code* y) {
  const VecF d = splat(f16_at(block));
  const VecF m = splat(f16_at(block + 2));
  for (int j = 0; j < group; j += lanes()) {
    const VecI quants = bytes_at(block + 4 + j);
    store_as<To>(hn::Add(hn::Mul(floats(low_nibble(quants)), d), m), y + j);
    store_as<To>(hn::Add(hn::Mul(floats(high_nibble(quants)), d), m), y + j + group);
  }
}

template <class To>
HWY_INLINE void Q5_0(Block block, typename To::Code* y) {
  const VecF d = splat(f16_at(block));
  const std::uint32_t high = scalar::u32_at(block + 2);
  for (int j = 0; j < group; j += lanes()) {
    const VecI quants = bytes_at(block + 6 + j);
    const VecI first = hn::Or(low_nibble(quants), fifth_bits(high >> j));
    const VecI second = hn::Or(high_nibble(quants), fifth_bits(high >> (j + group)));
    store_as<To>(hn::Mul(floats(hn::Sub(first, integer(16))), d), y + j);
    store_as<To>(hn::Mul(floats(hn::Sub(second, integer(16))), d), y + j + group);
  }
}

template <class To>
HWY_INLINE void Q5_1(Block block, typename To::Code* y) {
  const VecF d = splat(f16_at(block));
  const VecF m = splat(f16_at(block + 2));
  const std::uint32_t high = scalar::u32_at(block + 4);
  for (int j = 0; j < group; j += lanes()) {
    const VecI quants = bytes_at(block + 8 + j);
    const VecI first = hn::Or(low_nibble(quants), fifth_bits(high >> j));
    const VecI second = hn::Or(high_nibble(quants), fifth_bits(high >> (j + group)));
    store_as<To>(hn::Add(hn::Mul(floats(first), d), m), y + j);
    store_as<To>(hn::Add(hn::Mul(floats(second), d), m), y + j + group);
  }
}

/// `count` signed bytes times a scale.
template <class To>
HWY_INLINE void scale_bytes(const std::int8_t* from, int count, float scale, typename To::Code* y) {
  const VecF d = splat(scale);
  for (int j = 0; j < count; j += lanes()) store_as<To>(hn::Mul(floats(bytes_at(from + j)), d), y + j);
}

template <class To>
HWY_INLINE void Q8_0(Block block, typename To::Code* y) {
  scale_bytes<To>(reinterpret_cast<const std::int8_t*>(block + 2), 32, f16_at(block), y);
}

// ---- levels: a nibble is the number of one of 16 bytes ----

using EightBytes = hn::CappedTag<std::uint8_t, 8>;
using SixteenBytes = hn::CappedTag<std::uint8_t, 16>;

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

template <class To>
HWY_INLINE void levels_32(const std::int8_t* table, Block quants, float scale, typename To::Code* y) {
  HWY_ALIGN std::int8_t levels[32];
  look_up<16>(SixteenBytes(), SixteenBytes(), table, quants, levels);
  scale_bytes<To>(levels, 32, scale, y);
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
  HWY_ALIGN std::int8_t levels[16];
  for (int s = 0; s < 4; ++s) {
    look_up<8>(SixteenBytes(), EightBytes(), scalar::fp4_levels, block + 4 + 8 * s, levels);
    scale_bytes<To>(levels, 16, scalar::ue4m3_half(block[s]), y + 16 * s);
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

// ---- 256 elements ----

template <class To>
HWY_INLINE void Q2K(Block block, typename To::Code* y) {
  const float d = f16_at(block + 80);
  const float dmin = f16_at(block + 82);
  for (int i = 0; i < 16; ++i, y += group) {
    const VecF dl = splat(d * static_cast<float>(block[i] & 15));
    const VecF ml = splat(dmin * static_cast<float>(block[i] >> 4));
    const Block quants = block + 16 + 32 * (i / 8) + 16 * (i % 2);
    for (int l = 0; l < group; l += lanes()) {
      const VecI q = field(bytes_at(quants + l), 2 * (i % 8 / 2), 2);
      store_as<To>(hn::Sub(hn::Mul(dl, floats(q)), ml), y + l);
    }
  }
}

template <class To>
HWY_INLINE void Q3K(Block block, typename To::Code* y) {
  const float d = f16_at(block + 108);
  for (int i = 0; i < 16; ++i, y += group) {
    const VecF dl = splat(d * static_cast<float>(scalar::q3_scale(block + 96, i)));
    const Block high = block + 16 * (i % 2);
    const Block quants = block + 32 + 32 * (i / 8) + 16 * (i % 2);
    for (int l = 0; l < group; l += lanes()) {
      const VecI low = field(bytes_at(quants + l), 2 * (i % 8 / 2), 2);
      const VecI q = hn::Sub(hn::Or(low, hn::ShiftLeft<2>(field(bytes_at(high + l), i / 2, 1))), integer(4));
      store_as<To>(hn::Mul(dl, floats(q)), y + l);
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

template <class To>
HWY_INLINE void Q4K(Block block, typename To::Code* y) {
  for (int pair = 0; pair < 4; ++pair, y += 64) {
    const Pair by = scale_pair(block, pair);
    for (int l = 0; l < 32; l += lanes()) {
      const VecI quants = bytes_at(block + 16 + 32 * pair + l);
      store_as<To>(hn::Sub(hn::Mul(by.first_scale, floats(low_nibble(quants))), by.first_min), y + l);
      store_as<To>(hn::Sub(hn::Mul(by.second_scale, floats(high_nibble(quants))), by.second_min), y + l + 32);
    }
  }
}

template <class To>
HWY_INLINE void Q5K(Block block, typename To::Code* y) {
  for (int pair = 0; pair < 4; ++pair, y += 64) {
    const Pair by = scale_pair(block, pair);
    for (int l = 0; l < 32; l += lanes()) {
      const VecI quants = bytes_at(block + 48 + 32 * pair + l);
      const VecI high = field(bytes_at(block + 16 + l), 2 * pair, 2);
      const VecI first = hn::Or(low_nibble(quants), hn::ShiftLeft<4>(hn::And(high, integer(1))));
      const VecI second = hn::Or(high_nibble(quants), hn::ShiftLeft<3>(hn::And(high, integer(2))));
      store_as<To>(hn::Sub(hn::Mul(by.first_scale, floats(first)), by.first_min), y + l);
      store_as<To>(hn::Sub(hn::Mul(by.second_scale, floats(second)), by.second_min), y + l + 32);
    }
  }
}

/// A six-bit quant in -32 to 31 from its nibble and its two high bits, in place; times a scale.
template <class To>
HWY_INLINE void store_six_bits(VecI low, VecI high, VecF scale, typename To::Code* y) {
  store_as<To>(hn::Mul(scale, floats(hn::Sub(hn::Or(low, high), integer(32)))), y);
}

// 16 elements of each quarter of a half share the bytes of their high bits.
template <class To>
HWY_INLINE void Q6K(Block block, typename To::Code* y) {
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
      const VecI two = integer(3 << 4);
      typename To::Code* to = y + 128 * half + l;
      store_six_bits<To>(low_nibble(even), hn::And(hn::ShiftLeft<4>(high), two), scale_0, to);
      store_six_bits<To>(low_nibble(odd), hn::And(hn::ShiftLeft<2>(high), two), scale_1, to + 32);
      store_six_bits<To>(high_nibble(even), hn::And(high, two), scale_2, to + 64);
      store_six_bits<To>(high_nibble(odd), hn::And(hn::ShiftRight<2>(high), two), scale_3, to + 96);
    }
  }
}

template <class Code, class Kernel>
HWY_INLINE void each(DType dtype, const std::byte* blocks, std::size_t count, Code* out, Kernel kernel) {
  const DTypeInfo& row = info(dtype);
  const auto* block = reinterpret_cast<Block>(blocks);
  for (; count > 0; --count, block += row.block_bytes, out += row.block_elements) kernel(block, out);
}

#define HEFT_EACH(kernel) \
  each(dtype, blocks, count, out, [](Block block, typename To::Code* y) HWY_ATTR { kernel<To>(block, y); })

template <class To>
void decode(DType dtype, const std::byte* blocks, std::size_t count, std::byte* bytes) {
  auto* const out = reinterpret_cast<typename To::Code*>(bytes);  // only ever stored to without alignment
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

void Decode(DType from, DType to, const std::byte* blocks, std::size_t count, std::byte* out) {
  switch (to) {
    case DType::f16: return decode<Half>(from, blocks, count, out);
    case DType::bf16: return decode<Bfloat>(from, blocks, count, out);
    default: return decode<Single>(from, blocks, count, out);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heft::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heft::engine {

HWY_EXPORT(Decode);

bool has_block_kernel(DType from, DType to) noexcept {
  if (to != DType::f32 && to != DType::f16 && to != DType::bf16) return false;
  switch (from) {
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

void decode_blocks(DType from, DType to, const std::byte* blocks, std::size_t block_count, std::byte* out) noexcept {
  HWY_DYNAMIC_DISPATCH(Decode)(from, to, blocks, block_count, out);
}

}  // namespace heft::engine
#endif
