// heft/dtype.hpp: the element types of weights, one constexpr table.
//
// A type is packed in blocks: `block_elements` elements take `block_bytes` bytes. A plain type has one element in a
// block; f4_e2m1 has 2 in 1 byte; q4_0 has 32 in 18 bytes. Byte counts are therefore computed from blocks, by
// bytes_for() only.
//
// Sources: safetensors' dtype list (tensor.rs, 22 types), PyTorch's storage classes, ggml's type table (ggml.h,
// ggml-common.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "heft/export.hpp"

namespace heft {

// clang-format off: names of one kind share a line.
/// Every element type that a file can declare. The numbers are heft's own and differ between versions: store the name.
///
/// Example:
///   const heft::DTypeInfo& row = heft::info(heft::DType::q4_k);    // 256 elements in 144 bytes
///   std::cout << row.name << ": " << 8.0 * row.block_bytes / row.block_elements << " bits for an element\n";
///   const bool same = heft::dtype_from_name("bfloat16") == heft::DType::bf16;
enum class DType : std::uint8_t {
  /// A type that heft has no row for: listed by the file's name for it, readable as raw bytes, never as values.
  unknown,
  /// One byte; any non-zero byte means true. Never reinterpreted as C++ bool.
  boolean,
  /// Integers without and with sign, two's complement.
  u8, i8, u16, i16, u32, i32, u64, i64,
  /// IEEE 754 binary16, the upper half of binary32, binary32, binary64.
  f16, bf16, f32, f64,
  /// Complex numbers of two f16, f32 or f64: real, then imaginary part.
  c32, c64, c128,
  /// 8-bit floats (OCP OFP8, its fnuz variants, and the OCP MX scale); element.hpp states bias, range and rounding.
  f8_e4m3, f8_e5m2, f8_e4m3fnuz, f8_e5m2fnuz, f8_e8m0,
  /// Six bits. No writer documents the packing: raw bytes only.
  f6_e2m3, f6_e3m2,
  /// OCP MX FP4: two in a byte, the low nibble first.
  f4_e2m1,
  /// PyTorch's quantized storages: integers. Scale and zero point are records next to the tensor.
  qi8, qu8, qi32, qu4x2, qu2x4,
  /// PyTorch's types of opaque bits.
  bits8, bits16, bits1x8, bits2x4, bits4x2,
  /// ggml's blocks, named as in ggml.h: legacy types of 32 elements, then k-quants of 256, then importance quants, then
  /// ternary and microscaling types.
  q4_0, q4_1, q5_0, q5_1, q8_0, q8_1, q1_0, q2_0,
  q2_k, q3_k, q4_k, q5_k, q6_k, q8_k,
  iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s, iq1_s, iq1_m, iq4_nl, iq4_xs,
  tq1_0, tq2_0, mxfp4, nvfp4,
  /// Number of rows of the table; not a type.
  count_
};
// clang-format on

/// The kind of value that an element is. No conversion goes between real, integer and complex; LoadPlan lists those
/// that exist.
enum class DTypeCategory : std::uint8_t {
  /// No values, only bytes: unknown, bits*, f6_*.
  raw,
  /// One byte, false for 0.
  boolean,
  /// With or without sign.
  integer,
  /// Floating point of any width.
  real,
  /// Two reals.
  complex,
  /// A value needs a scale and a zero point that lie outside the tensor: PyTorch's q*.
  quantized,
  /// A value needs its whole block: ggml's types, which dequantize to real.
  block,
};

/// A row of the table. Constant data of the library.
struct DTypeInfo {
  DType dtype;
  /// Lower case: "bf16", "f8_e4m3", "bool", "q4_k".
  std::string_view name;
  /// Elements in a block, at least 1.
  std::uint32_t block_elements;
  /// Bytes in a block, at least 1.
  std::uint32_t block_bytes;
  /// The kind of value.
  DTypeCategory category;
  /// Bytes of the scalar part that a change of byte order reverses; 1: nothing to reverse. 1 for blocks too, whose
  /// parts their format swaps.
  std::uint32_t swap_bytes;
};

/// Returns the row of `dtype`; for a value outside the enumeration that of `unknown` (one element, one byte).
HEFT_API const DTypeInfo& info(DType dtype) noexcept;

/// Returns all rows in the enumeration's order.
HEFT_API std::span<const DTypeInfo> dtypes() noexcept;

/// Returns the lower-case name: "bf16", "f8_e4m3", "bool", "q4_k"; "unknown" for DType::unknown. Constant data.
HEFT_API std::string_view name(DType dtype) noexcept;

/// Returns the type of that lower-case name, or nothing. The names of PyTorch and NumPy are accepted as well:
/// "float32", "float16", "bfloat16", "half", "double", "int8", ...
HEFT_API std::optional<DType> dtype_from_name(std::string_view name) noexcept;

class Shape;

/// Returns the number of bytes of a packed row-major tensor. All of heft computes sizes by this function.
///
/// Throws Error{corrupt} when the product of the non-zero dims, or the bytes, do not fit 63 bits, or when the last dim
/// (for a plain type below a byte: the element count) is not a whole number of blocks. A shape with a dim of 0 has 0
/// bytes; a shape of rank 0 has one element.
HEFT_API std::uint64_t bytes_for(DType dtype, const Shape& shape);

/// Returns the bytes of one element of a plain type (one element in a block). Throws Error{type_mismatch} for blocks
/// and sub-byte types.
HEFT_API std::uint32_t element_bytes(DType dtype);

/// True for types of one element in a block: strides, element reads and gathering of bytes work on these only.
[[nodiscard]] inline bool is_plain(DType dtype) noexcept { return info(dtype).block_elements == 1; }

}  // namespace heft
