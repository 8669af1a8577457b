// kernels/dequant.hpp: decoding of ggml's block types to f32.
//
// Results have the bits of ggml's dequantize_row_*: the same products and sums in the same order, never fused.
#pragma once

#include <cstddef>

#include "heft/dtype.hpp"

namespace heft::kernels {

/// Returns true for the block types: those whose DTypeInfo::category is `block`.
[[nodiscard]] bool can_dequantize(DType dtype) noexcept;

/// Decodes `block_count` little-endian blocks to block_count * info(dtype).block_elements floats at `out`, with the
/// fastest kernel of this processor.
///
/// `blocks` needs no alignment, `out` that of float; they must not overlap. Requires can_dequantize(dtype). Threads can
/// decode rows of one tensor at the same time.
void dequantize(DType dtype, const std::byte* blocks, std::size_t block_count, float* out) noexcept;

/// As dequantize(), by the portable code against which the kernels are tested.
void dequantize_scalar(DType dtype, const std::byte* blocks, std::size_t block_count, float* out) noexcept;

/// Converts big-endian blocks to little-endian in place: swaps the bytes of each field of more than one byte, but not
/// of packed quants. Requires can_dequantize(dtype).
void swap_block_fields(DType dtype, std::byte* blocks, std::size_t block_count) noexcept;

}  // namespace heft::kernels
