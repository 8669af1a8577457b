// kernels/dequant_simd.hpp: SIMD decoding of the block types of published models.
#pragma once

#include <cstddef>

#include "heft/dtype.hpp"

namespace heft::kernels {

/// Returns true for pairs that decode_blocks() supports: Q1_0, Q2_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K,
/// IQ4_NL, IQ4_XS, TQ2_0, MXFP4, NVFP4, and the types of code_books.hpp, to f32, f16 and bf16.
[[nodiscard]] bool has_block_kernel(DType from, DType to) noexcept;

/// Decodes `block_count` blocks to elements of `to` on the best target of the machine. Results have the bits of
/// dequantize_scalar(), rounded once to `to` as by narrow_run(). The runs need no alignment and must not overlap.
/// Requires has_block_kernel(from, to).
void decode_blocks(DType from, DType to, const std::byte* blocks, std::size_t block_count, std::byte* out) noexcept;

}  // namespace heft::kernels
