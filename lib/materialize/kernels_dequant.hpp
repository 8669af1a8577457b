// materialize/kernels_dequant.hpp: SIMD decoding of the block types that models are published in.
#pragma once

#include <cstddef>

#include "heft/dtype.hpp"

namespace heft::engine {

/// True for the types that decode_blocks() knows: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K, IQ4_NL, IQ4_XS, MXFP4, NVFP4.
[[nodiscard]] bool has_block_kernel(DType dtype) noexcept;

/// dequantize() on the best target of the machine: the same bits as dequantize_scalar(). Precondition: has_block_kernel(dtype).
void decode_blocks(DType dtype, const std::byte* blocks, std::size_t block_count, float* out) noexcept;

}  // namespace heft::engine
