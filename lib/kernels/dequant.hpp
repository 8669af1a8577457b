// kernels/dequant.hpp: ggml's block types as f32.
//
// Every result is bit for bit what ggml's dequantize_row_* gives: the same products and sums in the same order, never fused.
#pragma once

#include <cstddef>

#include "heft/dtype.hpp"

namespace heft::engine {

/// True for the block types: those whose DTypeInfo::category is `block`.
[[nodiscard]] bool can_dequantize(DType dtype) noexcept;

/// Decodes `block_count` blocks to block_count * info(dtype).block_elements floats at `out`, with the fastest kernel this processor has.
///
/// `blocks` needs no alignment, `out` that of float; they must not overlap. Little-endian blocks: see swap_block_fields().
/// Precondition: can_dequantize(dtype). Threads: pure; rows of one tensor can be decoded by several threads at once.
void dequantize(DType dtype, const std::byte* blocks, std::size_t block_count, float* out) noexcept;

/// The same by the portable code that the kernels are tested against.
void dequantize_scalar(DType dtype, const std::byte* blocks, std::size_t block_count, float* out) noexcept;

/// Turns big-endian blocks into little-endian ones, in place: swaps each field of more than one byte, and never the bytes of packed
/// quants. Precondition: can_dequantize(dtype).
void swap_block_fields(DType dtype, std::byte* blocks, std::size_t block_count) noexcept;

}  // namespace heft::engine
