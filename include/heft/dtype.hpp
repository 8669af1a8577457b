// heft/dtype.hpp: the element types of weights, one constexpr table.
//
// A type is packed in blocks: `block_elements` elements take `block_bytes` bytes. Plain types have one element a block; f4_e2m1 has
// two in a byte; q4_0 has 32 in 18 bytes. Byte counts are therefore always computed from blocks, and only by bytes_for().
//
// Sources: safetensors' dtype list (tensor.rs, 22 types), PyTorch's storage classes, ggml's type table (ggml.h, ggml-common.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "heft/export.hpp"

namespace heft {

/// Every element type that a file can declare. The numbers are heft's own and not stable across versions.
enum class DType : std::uint8_t {
  /// A type heft has no row for: listed by its own name, readable as raw bytes, never as values.
  unknown,
  /// One byte; any non-zero byte means true. Never reinterpreted as C++ bool.
  boolean,
  u8, i8, u16, i16, u32, i32, u64, i64,
  f16, bf16, f32, f64,
  /// Complex of two f16, f32, f64: real, then imaginary.
  c32, c64, c128,
  f8_e4m3, f8_e5m2, f8_e4m3fnuz, f8_e5m2fnuz, f8_e8m0,
  /// Six bits. No writer documents the packing: raw bytes only.
  f6_e2m3, f6_e3m2,
  /// Two in a byte, the low nibble first.
  f4_e2m1,
  /// PyTorch quantized storages: integers; scale and zero point are records beside them.
  qi8, qu8, qi32, qu4x2, qu2x4,
  /// PyTorch opaque bits.
  bits8, bits16, bits1x8, bits2x4, bits4x2,
  q4_0, q4_1, q5_0, q5_1, q8_0, q8_1, q1_0, q2_0,
  q2_k, q3_k, q4_k, q5_k, q6_k, q8_k,
  iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s, iq1_s, iq1_m, iq4_nl, iq4_xs,
  tq1_0, tq2_0, mxfp4, nvfp4,
  /// Number of rows; not a type.
  count_
};

/// What kind of value an element is. Conversions never cross real, integer and boolean unasked.
enum class DTypeCategory : std::uint8_t {
  /// No values, only bytes (unknown, bits*, f6).
  raw,
  boolean,
  integer,
  real,
  complex,
  /// Values need parameters that lie outside the block (PyTorch's q*).
  quantized,
  /// Values need the block (ggml): dequantized to real.
  block,
};

/// A row of the table.
struct DTypeInfo {
  DType dtype;
  /// Lower case: "bf16", "f8_e4m3", "bool", "q4_k".
  std::string_view name;
  /// Elements in a block, at least 1.
  std::uint32_t block_elements;
  /// Bytes in a block, at least 1.
  std::uint32_t block_bytes;
  DTypeCategory category;
  /// Bytes of the scalar part that a byte swap reverses; 1: nothing to swap. Blocks: 1, swapped by their format.
  std::uint32_t swap_bytes;
};

/// The row of `dtype`. Never fails: values outside the enumeration give the row of `unknown` (one element, one byte).
HEFT_API const DTypeInfo& info(DType dtype) noexcept;

/// All rows in the enumeration's order.
HEFT_API std::span<const DTypeInfo> dtypes() noexcept;

/// Lower-case name: "bf16", "f8_e4m3", "bool", "q4_k"; "unknown" for DType::unknown.
HEFT_API std::string_view name(DType dtype) noexcept;

/// The type of that lower-case name, or nothing. Also "float32", "float16", "bfloat16", "half", "double", "int8"... as PyTorch and NumPy say.
HEFT_API std::optional<DType> dtype_from_name(std::string_view name) noexcept;

class Shape;

/// Number of bytes of a packed row-major tensor: the only size computation there is.
///
/// Throws Error{corrupt} when the product of the non-zero dims, or the bytes, do not fit 63 bits, or when the last dim (the whole
/// count, for a plain sub-byte type) is not a whole number of blocks. A shape with a zero dim has 0 bytes; a rank-0 shape is one element.
HEFT_API std::uint64_t bytes_for(DType dtype, const Shape& shape);

/// Bytes of one element of a plain type (one element a block). Throws Error{type_mismatch} for blocks and sub-byte types.
HEFT_API std::uint32_t element_bytes(DType dtype);

/// True for types of one element a block: those that strides, element reads and byte-wise gathering work on.
[[nodiscard]] inline bool is_plain(DType dtype) noexcept { return info(dtype).block_elements == 1; }

}  // namespace heft
