// kernels/kernels.hpp: the inner loops, which widen, narrow, swap, transpose and copy packed runs with SIMD.
//
// Written once with Highway, which chooses the best target of the machine at the first call. Rounding, NaN and overflow
// are those of heft/element.hpp, against which each kernel is tested on every target. Runs need no alignment and must
// not overlap their results.
#pragma once

#include <cstddef>
#include <cstdint>

#include "heft/dtype.hpp"

namespace heft::kernels {

/// How a kernel writes. `streaming` stores bypass the caches and save the read of the line that they replace. They are
/// faster for large results in memory that was touched before, and slower for fresh pages, which are in the cache
/// because the operating system has just zeroed them.
enum class Store : std::uint8_t { cached, streaming };

/// Results below this size, in bytes, are written with cached stores: they contain no whole cache line.
inline constexpr std::size_t min_streamed_bytes = 64;

/// Orders streaming stores before later stores of this thread. Call it once before results are handed to another
/// thread; a fence after each run would cost more than the run.
void finish_stores(Store store) noexcept;

/// Copies `size` bytes.
void copy_run(const std::byte* from, std::byte* to, std::size_t size, Store store) noexcept;

/// Copies `rows` rows of `size` bytes, which are `from_pitch` bytes apart in `from` and `to_pitch` in `to`.
void copy_rows(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch, std::size_t rows,
               std::size_t size, Store store) noexcept;

/// Returns true for the types that widen_run and narrow_run support: f16, bf16 and the f8 types.
[[nodiscard]] bool has_narrow_kernel(DType dtype) noexcept;
/// Converts `count` elements of `from_type` (has_narrow_kernel) to f32, exactly.
void widen_run(DType from_type, const std::byte* from, std::byte* to, std::size_t count, Store store) noexcept;
/// Converts `count` elements of f32 to `to_type` (has_narrow_kernel), rounded.
void narrow_run(DType to_type, const std::byte* from, std::byte* to, std::size_t count, Store store) noexcept;

/// Returns true for pairs that recode_run supports: f16, bf16 and the f8 types to f16 and bf16.
[[nodiscard]] bool has_recode_kernel(DType from_type, DType to_type) noexcept;
/// Converts `count` elements of one narrow type to another (has_recode_kernel), rounded, without f32 results in memory.
void recode_run(DType from_type, DType to_type, const std::byte* from, std::byte* to, std::size_t count,
                Store store) noexcept;

/// Reverses the bytes of `count` elements of `width` (1, 2, 4 or 8) bytes.
void swap_run(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) noexcept;

/// Transposes a block of `rows` x `columns` elements of `width` (1, 2, 4 or 8) bytes: element (r, c) of `from`, whose
/// rows are `from_pitch` bytes apart, becomes element (c, r) of `to`, whose rows are `to_pitch` bytes apart. Streams
/// only whole vectors, and only if `to` and its pitch are multiples of 64 bytes.
void transpose_block(std::size_t width, const std::byte* from, std::size_t from_pitch, std::byte* to,
                     std::size_t to_pitch, std::size_t rows, std::size_t columns, Store store) noexcept;

}  // namespace heft::kernels
