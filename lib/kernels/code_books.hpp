// kernels/code_books.hpp: SIMD decoding of the block types whose quants are indexes into a code book.
#pragma once

#include <cstddef>

#include "heft/dtype.hpp"

namespace heft::kernels {

/// Returns true for IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S.
[[nodiscard]] bool has_code_book_kernel(DType from) noexcept;

/// decode_blocks() for these types. Requires has_code_book_kernel(from); `to` is f32, f16 or bf16.
void decode_code_books(DType from, DType to, const std::byte* blocks, std::size_t block_count, std::byte* out) noexcept;

}  // namespace heft::kernels
