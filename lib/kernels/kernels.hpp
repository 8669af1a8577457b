// kernels/kernels.hpp: the inner loops: packed runs widened, narrowed, swapped, transposed and copied with SIMD, chosen at run time.
//
// Written once with Highway; the best target of the machine is chosen at the first call. Rounding, NaN and overflow are those of heft/element.hpp,
// which is also what each kernel is tested against, on every target. No run needs alignment, and none may overlap its result.
#pragma once

#include <cstddef>
#include <cstdint>

#include "heft/dtype.hpp"

namespace heft::engine {

/// How a kernel writes. `streaming` stores go past the caches and spare the read of the line they replace: best for large results in memory that
/// is already there, and a loss for fresh pages, which the kernel's zeroing has just put into the cache.
enum class Store : std::uint8_t { cached, streaming };

/// Shorter results hold no whole cache line to speak of. In bytes.
inline constexpr std::size_t shortest_streamed = 64;

/// Orders streaming stores before whatever this thread does next: once before results are handed to another thread, for a fence after each run
/// costs more than the run.
void finish_stores(Store store) noexcept;

/// Copies `size` bytes.
void copy_run(const std::byte* from, std::byte* to, std::size_t size, Store store) noexcept;

/// Copies `rows` rows of `size` bytes, which are `from_pitch` bytes apart and shall be `to_pitch` bytes apart.
void copy_rows(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch, std::size_t rows,
               std::size_t size, Store store) noexcept;

/// True for the types that widen_run and narrow_run know: f16, bf16, and the f8 kinds.
[[nodiscard]] bool has_narrow_kernel(DType dtype) noexcept;
/// `count` elements of `from_type` (has_narrow_kernel) to f32: exact.
void widen_run(DType from_type, const std::byte* from, std::byte* to, std::size_t count, Store store) noexcept;
/// `count` elements of f32 to `to_type` (has_narrow_kernel), rounded.
void narrow_run(DType to_type, const std::byte* from, std::byte* to, std::size_t count, Store store) noexcept;

/// True for pairs that recode_run knows: f16, bf16 and the f8 kinds to f16 and bf16.
[[nodiscard]] bool has_recode_kernel(DType from_type, DType to_type) noexcept;
/// `count` elements of one narrow type to another (has_recode_kernel), rounded, without a stop at f32 in memory.
void recode_run(DType from_type, DType to_type, const std::byte* from, std::byte* to, std::size_t count,
                Store store) noexcept;

/// `count` elements of `width` (1, 2, 4 or 8) bytes with their bytes reversed.
void swap_run(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) noexcept;

/// A block of `rows` x `columns` elements of `width` (1, 2, 4 or 8) bytes: element (r, c) of `from`, whose rows are
/// `from_pitch` bytes apart, becomes element (c, r) of `to`, whose rows are `to_pitch` bytes apart. Streams only where
/// `to` and its pitch are multiples of 64 bytes, and then but what fills whole vectors.
void transpose_block(std::size_t width, const std::byte* from, std::size_t from_pitch, std::byte* to,
                     std::size_t to_pitch, std::size_t rows, std::size_t columns, Store store) noexcept;

}  // namespace heft::engine
