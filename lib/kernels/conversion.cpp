#include "kernels/conversion.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "heft/element.hpp"
#include "heft/error.hpp"
#include "kernels/dequant.hpp"
#include "kernels/dequant_simd.hpp"

namespace heft::kernels {
namespace {

// Runs with intermediate results are converted in tiles that fit the first-level cache.
constexpr std::size_t tile_scalars = 2048;
constexpr std::size_t tile_bytes = tile_scalars * 8;

struct alignas(64) Tile {
  std::byte bytes[tile_bytes];
};

// Returns the type of a complex type's parts, else the type itself: complex numbers are converted as pairs of reals.
DType scalar_of(DType type) noexcept {
  switch (type) {
    case DType::c32: return DType::f16;
    case DType::c64: return DType::f32;
    case DType::c128: return DType::f64;
    default: return type;
  }
}

// Returns true for floats with a kernel to or from f32.
bool is_real_scalar(DType type) noexcept { return type == DType::f32 || type == DType::f64 || has_narrow_kernel(type); }

// Returns true if flipping the top bit negates every value. The fnuz types have NaN where -0 would be, and f8_e8m0 has
// an exponent bit there.
bool negates_by_top_bit(DType type) noexcept {
  return is_real_scalar(type) && type != DType::f8_e4m3fnuz && type != DType::f8_e5m2fnuz && type != DType::f8_e8m0;
}

// ---- Integers ----

struct IntegerType {
  std::uint32_t bytes;
  bool is_signed;
};

IntegerType integer_type(DType type) noexcept {
  // Only called for integers, whose widths are those of the dtype table.
  const bool is_signed = type == DType::i8 || type == DType::i16 || type == DType::i32 || type == DType::i64;
  return {info(type).block_bytes, is_signed};
}

// Returns true when `to` can represent every value of `from`.
bool holds_every_value(DType from, DType to) noexcept {
  if (info(to).category != DTypeCategory::integer) return false;
  // 0 and 1 fit every integer type.
  if (from == DType::boolean) return true;
  if (info(from).category != DTypeCategory::integer) return false;
  const IntegerType a = integer_type(from);
  const IntegerType b = integer_type(to);
  // An unsigned type fits a signed one that is wider, a signed type fits no unsigned one.
  return a.is_signed == b.is_signed ? a.bytes <= b.bytes : b.is_signed && a.bytes < b.bytes;
}

// Converts integers by sign or zero extension, which From determines.
template <class From, class To>
void extend(const std::byte* from, std::byte* to, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    // Elements lie at any address; memcpy compiles to an unaligned load, and the loop to vectors.
    From value;
    std::memcpy(&value, from + i * sizeof value, sizeof value);
    const auto extended = static_cast<To>(value);
    std::memcpy(to + i * sizeof extended, &extended, sizeof extended);
  }
}

// Signed targets serve unsigned ones too, because only the source's signedness matters: u8 to i32 and u8 to u32 give
// the same bytes.
template <class From>
void extend_to(std::uint32_t to_bytes, const std::byte* from, std::byte* to, std::size_t count) noexcept {
  switch (to_bytes) {
    case 1: return extend<From, std::int8_t>(from, to, count);
    case 2: return extend<From, std::int16_t>(from, to, count);
    case 4: return extend<From, std::int32_t>(from, to, count);
    default: return extend<From, std::int64_t>(from, to, count);
  }
}

// Converts booleans and integers. Requires count <= tile_scalars for booleans.
void convert_integers(DType from_type, DType to_type, const std::byte* from, std::byte* to,
                      std::size_t count) noexcept {
  const std::uint32_t bytes = info(to_type).block_bytes;
  switch (from_type) {
    case DType::boolean: {
      // Every byte except 0 is true, and true becomes 1.
      std::byte truth[tile_scalars];
      std::transform(from, from + count, truth, [](std::byte b) { return std::byte{b != std::byte{0}}; });
      return extend_to<std::uint8_t>(bytes, truth, to, count);
    }
    case DType::u8: return extend_to<std::uint8_t>(bytes, from, to, count);
    case DType::u16: return extend_to<std::uint16_t>(bytes, from, to, count);
    case DType::u32: return extend_to<std::uint32_t>(bytes, from, to, count);
    case DType::i8: return extend_to<std::int8_t>(bytes, from, to, count);
    case DType::i16: return extend_to<std::int16_t>(bytes, from, to, count);
    default: return extend_to<std::int32_t>(bytes, from, to, count);
  }
}

// ---- Reals ----

// Rounds to f32 as the final type: to nearest, ties to even.
float rounded(double value) noexcept { return static_cast<float>(value); }

// Rounds to f32 as an intermediate type: truncates, and sets the last bit if the result is inexact ("round to odd").
// The second rounding then sees on which side of a tie the value was.
float rounded_to_odd(double value) noexcept {
  // Rounding twice to nearest can move a value just above a tie onto the tie and then to the wrong side. An odd last
  // bit marks it as inexact.
  const auto nearest = static_cast<float>(value);
  if (static_cast<double>(nearest) == value || std::isnan(value)) return nearest;
  auto bits = std::bit_cast<std::uint32_t>(nearest);
  // Rounded away from zero: the bits of the next number towards zero are one less, for either sign. Infinity becomes
  // the largest number, whose last bit is set.
  if (std::fabs(static_cast<double>(nearest)) > std::fabs(value)) --bits;
  return std::bit_cast<float>(bits | 1);
}

// Converts f64 to f32, rounded by Round.
template <float (*Round)(double) noexcept>
void demote_doubles(const std::byte* from, std::byte* to, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    double value;
    std::memcpy(&value, from + i * sizeof value, sizeof value);
    const float demoted = Round(value);
    std::memcpy(to + i * sizeof demoted, &demoted, sizeof demoted);
  }
}

// Converts f32 to f64, which is exact.
void promote_floats(const std::byte* from, std::byte* to, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    float value;
    std::memcpy(&value, from + i * sizeof value, sizeof value);
    const double promoted = value;
    std::memcpy(to + i * sizeof promoted, &promoted, sizeof promoted);
  }
}

// Converts f32 to any real type. Requires count <= tile_scalars for f64 with streaming stores.
void floats_to(DType to_type, const std::byte* floats, std::byte* to, std::size_t count, Store store) noexcept {
  // The values are floats already, so nothing but the store is left.
  if (to_type == DType::f32) return copy_run(floats, to, count * sizeof(float), store);
  if (to_type != DType::f64) return narrow_run(to_type, floats, to, count, store);
  if (store == Store::cached) return promote_floats(floats, to, count);
  // promote_floats() has no streaming stores; its results are copied by the kernel that has.
  Tile doubles;
  promote_floats(floats, doubles.bytes, count);
  copy_run(doubles.bytes, to, count * sizeof(double), store);
}

// Requires count <= tile_scalars for pairs without a kernel.
void convert_reals(DType from_type, DType to_type, const std::byte* from, std::byte* to, std::size_t count,
                   Store store) noexcept {
  // Pairs that one kernel converts, without floats in memory.
  if (from_type == DType::f32) return floats_to(to_type, from, to, count, store);
  if (to_type == DType::f32 && from_type != DType::f64) return widen_run(from_type, from, to, count, store);
  if (has_recode_kernel(from_type, to_type)) return recode_run(from_type, to_type, from, to, count, store);
  // Other pairs go through f32, which holds every value of the narrow types exactly.
  Tile floats;
  if (from_type != DType::f64)
    widen_run(from_type, from, floats.bytes, count, Store::cached);
  else if (to_type == DType::f32)
    // The final result is rounded to nearest; one that is narrowed further is rounded to odd first.
    demote_doubles<rounded>(from, floats.bytes, count);
  else
    demote_doubles<rounded_to_odd>(from, floats.bytes, count);
  floats_to(to_type, floats.bytes, to, count, store);
}

// ---- Blocks ----

// Unpacks f4_e2m1: two elements in a byte, the low nibble first.
void unpack_f4(const std::byte* from, float* to, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    const auto pair = std::to_integer<std::uint8_t>(from[i]);
    to[2 * i] = f8_to_f32(DType::f4_e2m1, pair & 0x0F);
    to[2 * i + 1] = f8_to_f32(DType::f4_e2m1, static_cast<std::uint8_t>(pair >> 4));
  }
}

}  // namespace

Conversion Conversion::find(DType from, DType to, Traits traits) {
  const auto refuse = [&](std::string_view why) {
    return Error(ErrorCode::unsupported, fmt::format("cannot convert {} to {}: {}", name(from), name(to), why));
  };
  const DTypeInfo& from_info = info(from);
  const DTypeInfo& to_info = info(to);
  Conversion found;
  found.from_ = from;
  found.to_ = to;
  found.from_scalar_ = scalar_of(from);
  found.to_scalar_ = scalar_of(to);
  found.scalars_ = from_info.category == DTypeCategory::complex ? 2 : 1;
  found.traits_ = traits;
  // Bytes of one-byte elements have no order. swap_block_fields() swaps the fields of blocks that have
  // more than one byte.
  found.traits_.swapped = traits.swapped && (from_info.swap_bytes > 1 || from_info.category == DTypeCategory::block);
  // The conjugate of a real number is the number.
  found.traits_.conjugated = traits.conjugated && found.scalars_ == 2;
  found.unit_elements_ = from_info.block_elements;
  found.from_bytes_ = from_info.block_bytes;
  // A unit is a block of the source; unless it is only copied, it becomes that many elements.
  found.to_bytes_ = to_info.block_bytes * (from == to ? 1 : from_info.block_elements);
  // Negating flips the sign bit of the bytes, so integers would be wrong.
  if (traits.negated && !negates_by_top_bit(found.from_scalar_))
    throw refuse("the tensor has PyTorch's negative bit, and this dtype has no sign bit that negates every value");

  // Also for types that heft cannot compute with: bytes are copied, and swapped if needed.
  if (from == to) return found;
  if (to_info.block_elements > 1) throw refuse("heft does not quantize");
  if (can_dequantize(from) || from == DType::f4_e2m1) {
    if (!is_real_scalar(to)) throw refuse("blocks convert only to real dtypes");
    found.step_ = Step::dequantize;
  } else if (found.from_scalar_ != from ? to_info.category == DTypeCategory::complex
                                        : is_real_scalar(from) && is_real_scalar(to)) {
    found.step_ = Step::real;
  } else if (holds_every_value(from, to)) {
    found.step_ = Step::integer;
  } else {
    throw refuse("heft converts real to real, complex to complex, and integers to integers that hold every value");
  }
  return found;
}

void Conversion::run(const std::byte* from, std::byte* to, std::size_t count, Store store) const noexcept {
  if (count * to_bytes_ < min_streamed_bytes) store = Store::cached;
  const bool decodes = has_block_kernel(from_, to_);
  // One pass without intermediate results needs no tiles, however long the run is.
  const bool one_kernel = step_ == Step::copy || (to_ == DType::f32 && has_narrow_kernel(from_)) ||
                          (from_ == DType::f32 && has_narrow_kernel(to_)) || has_recode_kernel(from_, to_) ||
                          (store == Store::cached && decodes);
  if (one_kernel && !touches_bits()) return convert(from, to, count, store);
  // Units whose intermediate results fit a Tile: those of a block kernel are elements of `to`, all others at most 8
  // bytes for each scalar.
  const std::size_t tile_units =
      decodes ? tile_bytes / to_bytes_ : tile_scalars / (std::size_t{scalars_} * unit_elements_);
  while (count > 0) {
    const std::size_t now = std::min(count, tile_units);
    run_tile(from, to, now, store);
    from += now * from_bytes_;
    to += now * to_bytes_;
    count -= now;
  }
}

void Conversion::run_tile(const std::byte* from, std::byte* to, std::size_t count, Store store) const noexcept {
  if (!touches_bits()) return convert(from, to, count, store);
  // The source is read-only, so corrected bytes go to a copy, which stays in the cache.
  Tile mended;
  mend_bits(from, mended.bytes, count);
  convert(mended.bytes, to, count, store);
}

// Converts to host byte order, and applies PyTorch's negative and conjugate bits.
void Conversion::mend_bits(const std::byte* from, std::byte* to, std::size_t count) const noexcept {
  // Parts of a complex number are swapped one by one: their order stays.
  const std::size_t width = from_bytes_ / scalars_;
  if (can_dequantize(from_)) {
    std::memcpy(to, from, count * from_bytes_);
    return swap_block_fields(from_, to, count);
  }
  if (traits_.swapped)
    swap_run(width, from, to, count * scalars_);
  else
    std::memcpy(to, from, count * from_bytes_);
  if (!traits_.negated && !traits_.conjugated) return;
  constexpr std::byte sign{0x80};
  // The byte with the sign bit, now in the host's order.
  const std::size_t top = std::endian::native == std::endian::little ? width - 1 : 0;
  for (std::size_t i = 0; i < count * scalars_; ++i) {
    const bool imaginary = scalars_ == 2 && i % 2 == 1;
    // Conjugation negates the imaginary part; with both bits that part keeps its sign.
    if (traits_.negated != (imaginary && traits_.conjugated)) to[i * width + top] ^= sign;
  }
}

// Streaming stores go through a tile: in the order of a block's elements they would write each cache line in parts.
void Conversion::decode(const std::byte* from, std::byte* to, std::size_t count, Store store) const noexcept {
  if (store == Store::cached) return decode_blocks(from_, to_, from, count, to);
  Tile tile;
  decode_blocks(from_, to_, from, count, tile.bytes);
  copy_run(tile.bytes, to, count * to_bytes_, store);
}

void Conversion::convert(const std::byte* from, std::byte* to, std::size_t count, Store store) const noexcept {
  switch (step_) {
    case Step::copy: return copy_run(from, to, count * from_bytes_, store);
    case Step::integer: return convert_integers(from_, to_, from, to, count);
    case Step::real: return convert_reals(from_scalar_, to_scalar_, from, to, count * scalars_, store);
    case Step::dequantize: {
      if (has_block_kernel(from_, to_)) return decode(from, to, count, store);
      // The type has no kernel to this dtype, so it is decoded to f32 first. run() has limited the count to a tile.
      alignas(64) float floats[tile_scalars];
      if (from_ == DType::f4_e2m1)
        unpack_f4(from, floats, count);
      else
        dequantize(from_, from, count, floats);
      return floats_to(to_, reinterpret_cast<const std::byte*>(floats), to, count * unit_elements_, store);
    }
  }
}

}  // namespace heft::kernels
