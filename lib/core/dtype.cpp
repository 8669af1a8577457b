#include "heft/dtype.hpp"

#include <fmt/format.h>

#include "core/checked.hpp"
#include "heft/error.hpp"
#include "heft/shape.hpp"

namespace heft {
namespace {

using enum DTypeCategory;

// One row for each type, in the order of the enumeration. Block sizes of ggml types are those of ggml-common.h.
constexpr DTypeInfo table[] = {
    {DType::unknown, "unknown", 1, 1, raw, 1},
    {DType::boolean, "bool", 1, 1, boolean, 1},
    {DType::u8, "u8", 1, 1, integer, 1},
    {DType::i8, "i8", 1, 1, integer, 1},
    {DType::u16, "u16", 1, 2, integer, 2},
    {DType::i16, "i16", 1, 2, integer, 2},
    {DType::u32, "u32", 1, 4, integer, 4},
    {DType::i32, "i32", 1, 4, integer, 4},
    {DType::u64, "u64", 1, 8, integer, 8},
    {DType::i64, "i64", 1, 8, integer, 8},
    {DType::f16, "f16", 1, 2, real, 2},
    {DType::bf16, "bf16", 1, 2, real, 2},
    {DType::f32, "f32", 1, 4, real, 4},
    {DType::f64, "f64", 1, 8, real, 8},
    {DType::c32, "c32", 1, 4, complex, 2},
    {DType::c64, "c64", 1, 8, complex, 4},
    {DType::c128, "c128", 1, 16, complex, 8},
    {DType::f8_e4m3, "f8_e4m3", 1, 1, real, 1},
    {DType::f8_e5m2, "f8_e5m2", 1, 1, real, 1},
    {DType::f8_e4m3fnuz, "f8_e4m3fnuz", 1, 1, real, 1},
    {DType::f8_e5m2fnuz, "f8_e5m2fnuz", 1, 1, real, 1},
    {DType::f8_e8m0, "f8_e8m0", 1, 1, real, 1},
    {DType::f6_e2m3, "f6_e2m3", 4, 3, raw, 1},
    {DType::f6_e3m2, "f6_e3m2", 4, 3, raw, 1},
    {DType::f4_e2m1, "f4_e2m1", 2, 1, real, 1},
    {DType::qi8, "qi8", 1, 1, quantized, 1},
    {DType::qu8, "qu8", 1, 1, quantized, 1},
    {DType::qi32, "qi32", 1, 4, quantized, 4},
    {DType::qu4x2, "qu4x2", 2, 1, quantized, 1},
    {DType::qu2x4, "qu2x4", 4, 1, quantized, 1},
    {DType::bits8, "bits8", 1, 1, raw, 1},
    {DType::bits16, "bits16", 1, 2, raw, 2},
    {DType::bits1x8, "bits1x8", 1, 1, raw, 1},
    {DType::bits2x4, "bits2x4", 1, 1, raw, 1},
    {DType::bits4x2, "bits4x2", 1, 1, raw, 1},
    {DType::q4_0, "q4_0", 32, 18, block, 1},
    {DType::q4_1, "q4_1", 32, 20, block, 1},
    {DType::q5_0, "q5_0", 32, 22, block, 1},
    {DType::q5_1, "q5_1", 32, 24, block, 1},
    {DType::q8_0, "q8_0", 32, 34, block, 1},
    {DType::q8_1, "q8_1", 32, 36, block, 1},
    {DType::q1_0, "q1_0", 128, 18, block, 1},
    {DType::q2_0, "q2_0", 64, 18, block, 1},
    {DType::q2_k, "q2_k", 256, 84, block, 1},
    {DType::q3_k, "q3_k", 256, 110, block, 1},
    {DType::q4_k, "q4_k", 256, 144, block, 1},
    {DType::q5_k, "q5_k", 256, 176, block, 1},
    {DType::q6_k, "q6_k", 256, 210, block, 1},
    {DType::q8_k, "q8_k", 256, 292, block, 1},
    {DType::iq2_xxs, "iq2_xxs", 256, 66, block, 1},
    {DType::iq2_xs, "iq2_xs", 256, 74, block, 1},
    {DType::iq2_s, "iq2_s", 256, 82, block, 1},
    {DType::iq3_xxs, "iq3_xxs", 256, 98, block, 1},
    {DType::iq3_s, "iq3_s", 256, 110, block, 1},
    {DType::iq1_s, "iq1_s", 256, 50, block, 1},
    {DType::iq1_m, "iq1_m", 256, 56, block, 1},
    {DType::iq4_nl, "iq4_nl", 32, 18, block, 1},
    {DType::iq4_xs, "iq4_xs", 256, 136, block, 1},
    {DType::tq1_0, "tq1_0", 256, 54, block, 1},
    {DType::tq2_0, "tq2_0", 256, 66, block, 1},
    {DType::mxfp4, "mxfp4", 32, 17, block, 1},
    {DType::nvfp4, "nvfp4", 64, 36, block, 1},
};

// Returns true if info() can index the table by the enumerator.
consteval bool rows_are_in_order() {
  for (std::size_t i = 0; i < std::size(table); ++i)
    if (static_cast<std::size_t>(table[i].dtype) != i) return false;
  return std::size(table) == static_cast<std::size_t>(DType::count_);
}
static_assert(rows_are_in_order());

struct Alias {
  std::string_view name;
  DType dtype;
};

// Names that PyTorch and NumPy use for the types of one element.
constexpr Alias aliases[] = {
    {"boolean", DType::boolean},
    {"uint8", DType::u8},
    {"int8", DType::i8},
    {"uint16", DType::u16},
    {"int16", DType::i16},
    {"short", DType::i16},
    {"uint32", DType::u32},
    {"int32", DType::i32},
    {"int", DType::i32},
    {"uint64", DType::u64},
    {"int64", DType::i64},
    {"long", DType::i64},
    {"float16", DType::f16},
    {"half", DType::f16},
    {"fp16", DType::f16},
    {"bfloat16", DType::bf16},
    {"float32", DType::f32},
    {"float", DType::f32},
    {"fp32", DType::f32},
    {"float64", DType::f64},
    {"double", DType::f64},
    {"complex32", DType::c32},
    {"complex64", DType::c64},
    {"complex128", DType::c128},
    {"f8_e4m3fn", DType::f8_e4m3},
    {"float8_e4m3fn", DType::f8_e4m3},
    {"float8_e5m2", DType::f8_e5m2},
    {"float8_e4m3fnuz", DType::f8_e4m3fnuz},
    {"float8_e5m2fnuz", DType::f8_e5m2fnuz},
    {"float8_e8m0fnu", DType::f8_e8m0},
};

}  // namespace

const DTypeInfo& info(DType dtype) noexcept {
  // A value outside the enumeration (a cast of the caller's) reads as `unknown`, row 0.
  const auto index = static_cast<std::size_t>(dtype);
  return table[index < std::size(table) ? index : 0];
}

std::span<const DTypeInfo> dtypes() noexcept { return table; }

std::string_view name(DType dtype) noexcept { return info(dtype).name; }

std::optional<DType> dtype_from_name(std::string_view name) noexcept {
  // A file cannot declare "unknown": that row stands for types that heft has no name for.
  for (const DTypeInfo& row : table)
    if (row.name == name && row.dtype != DType::unknown) return row.dtype;
  // After the names of heft's own, none of which an alias repeats.
  for (const Alias& alias : aliases)
    if (alias.name == name) return alias.dtype;
  return std::nullopt;
}

std::uint64_t bytes_for(DType dtype, const Shape& shape) {
  const DTypeInfo& row = info(dtype);
  const std::uint64_t count = shape.element_count();
  // ggml starts a new block in each row; the sub-byte types f4 and f6 are packed across rows.
  const std::uint64_t run =
      row.category == block ? (shape.rank() == 0 ? 1 : static_cast<std::uint64_t>(shape[shape.rank() - 1])) : count;
  // A partial block has no defined size, so that neither rounding up nor down would be right.
  if (run % row.block_elements != 0)
    throw Error(ErrorCode::corrupt, fmt::format("expected a multiple of {} elements for {}, shape {} has {}",
                                                row.block_elements, row.name, to_string(shape), run));
  const std::uint64_t bytes =
      core::mul_or_throw(count / row.block_elements, row.block_bytes, "the size of the tensor in bytes");
  // Strides and differences of pointers are signed, so that the bytes of a tensor must fit 63 bits.
  if (bytes > INT64_MAX)
    throw Error(ErrorCode::corrupt,
                fmt::format("the size of shape {} as {} does not fit 63 bits", to_string(shape), row.name));
  return bytes;
}

std::uint32_t element_bytes(DType dtype) {
  const DTypeInfo& row = info(dtype);
  // No number of bytes is right for one element of a packed type; a caller that divides would address the wrong
  // element.
  if (row.block_elements != 1)
    throw Error(ErrorCode::type_mismatch,
                fmt::format("expected a dtype with whole bytes for each element, {} packs {} elements in {} bytes",
                            row.name, row.block_elements, row.block_bytes));
  return row.block_bytes;
}

}  // namespace heft
