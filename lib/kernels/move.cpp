// Kernels that copy, swap and transpose elements of any dtype. Compiled once for each target by foreach_target.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/move.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which sets what highway.h reads.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstring>

#include "kernels/kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace heft::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Copies with streaming stores, except for the bytes before and after whole lines.
void CopyStreaming(const std::byte* from, std::byte* to, std::size_t size) {
  constexpr std::size_t line = 64;
  const hn::ScalableTag<std::uint8_t> d;
  const std::size_t lanes = hn::Lanes(d);
  // Streaming stores are combined into whole cache lines only if a line is written from its start: the bytes before
  // the first whole line are copied with ordinary stores.
  const std::size_t into_line = reinterpret_cast<std::uintptr_t>(to) % line;
  const std::size_t head = into_line == 0 ? 0 : HWY_MIN(size, line - into_line);
  std::memcpy(to, from, head);
  const auto* source = reinterpret_cast<const std::uint8_t*>(from);
  auto* target = reinterpret_cast<std::uint8_t*>(to);
  std::size_t i = head;
  // Four loads, then four stores: with vectors of 16 bytes these are one line, written without other accesses
  // between.
  for (; i + 4 * lanes <= size; i += 4 * lanes) {
    const auto a = hn::LoadU(d, source + i);
    const auto b = hn::LoadU(d, source + i + lanes);
    const auto c = hn::LoadU(d, source + i + 2 * lanes);
    const auto e = hn::LoadU(d, source + i + 3 * lanes);
    hn::Stream(a, d, target + i);
    hn::Stream(b, d, target + i + lanes);
    hn::Stream(c, d, target + i + 2 * lanes);
    hn::Stream(e, d, target + i + 3 * lanes);
  }
  for (; i + lanes <= size; i += lanes) hn::Stream(hn::LoadU(d, source + i), d, target + i);
  std::memcpy(to + i, from + i, size - i);
}

void CopyRows(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch, std::size_t rows,
              std::size_t size) {
  // One dispatch for all rows: rows of a shard can be short.
  for (std::size_t r = 0; r < rows; ++r) CopyStreaming(from + r * from_pitch, to + r * to_pitch, size);
}

// Reverses the bytes of each element, one element at a time.
template <std::size_t width>
void swap_elements(const std::byte* from, std::byte* to, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t byte = 0; byte < width; ++byte) to[i * width + byte] = from[(i + 1) * width - 1 - byte];
}

// Transposes a block one element at a time.
template <class Lane>
void transpose_elements(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch,
                        std::size_t rows, std::size_t columns) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c)
      std::memcpy(to + c * to_pitch + r * sizeof(Lane), from + r * from_pitch + c * sizeof(Lane), sizeof(Lane));
}

// The scalar target has vectors of one lane, which cannot be shuffled.
#if HWY_TARGET == HWY_SCALAR
template <class Lane>
void swap_lanes(const std::byte* from, std::byte* to, std::size_t count) {
  swap_elements<sizeof(Lane)>(from, to, count);
}

template <class Lane>
void transpose_lanes(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch,
                     std::size_t rows, std::size_t columns, bool) {
  transpose_elements<Lane>(from, from_pitch, to, to_pitch, rows, columns);
}
#else
// Reverses the bytes of each lane: swaps bytes in 16-bit lanes, then those in 32-bit lanes, then those in 64-bit lanes.
template <class Lane>
void swap_lanes(const std::byte* from, std::byte* to, std::size_t count) {
  const hn::ScalableTag<Lane> d;
  const hn::Repartition<std::uint16_t, decltype(d)> d16;
  const hn::Repartition<std::uint32_t, decltype(d)> d32;
  const auto* source = reinterpret_cast<const Lane*>(from);
  auto* target = reinterpret_cast<Lane*>(to);
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto bytes = hn::BitCast(d16, hn::LoadU(d, source + i));
    const auto pairs = hn::Or(hn::ShiftLeft<8>(bytes), hn::ShiftRight<8>(bytes));
    if constexpr (sizeof(Lane) == 2) {
      hn::StoreU(hn::BitCast(d, pairs), d, target + i);
    } else {
      const auto quads = hn::RotateRight<16>(hn::BitCast(d32, pairs));
      if constexpr (sizeof(Lane) == 4)
        hn::StoreU(hn::BitCast(d, quads), d, target + i);
      else
        hn::StoreU(hn::BitCast(d, hn::Shuffle2301(quads)), d, target + i);
    }
  }
  swap_elements<sizeof(Lane)>(from + i * sizeof(Lane), to + i * sizeof(Lane), count - i);
}

// Transposes n rows of n elements, 16 bytes each, in each block of the vectors: log2(n) times, vectors i and i + n/2
// are interleaved into vectors 2i and 2i + 1.
template <class Lane, class D, class V>
HWY_INLINE void transpose_in_blocks(D d, V (&rows)[16 / sizeof(Lane)]) {
  constexpr std::size_t n = 16 / sizeof(Lane);
  // After log2(n) such steps element j of row i is element i of row j.
  V mixed[n];
  for (std::size_t step = 1; step < n; step *= 2) {
    for (std::size_t i = 0; i < n / 2; ++i) {
      mixed[2 * i] = hn::InterleaveLower(d, rows[i], rows[i + n / 2]);
      mixed[2 * i + 1] = hn::InterleaveUpper(d, rows[i], rows[i + n / 2]);
    }
    for (std::size_t i = 0; i < n; ++i) rows[i] = mixed[i];
  }
}

template <class Lane>
HWY_INLINE void transpose_tile(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch) {
  constexpr std::size_t n = 16 / sizeof(Lane);
  // Vectors of 16 bytes on every target, for the parts of a block that are too small for squares.
  const hn::FixedTag<Lane, n> d;
  hn::Vec<decltype(d)> rows[n];
  for (std::size_t i = 0; i < n; ++i) rows[i] = hn::LoadU(d, reinterpret_cast<const Lane*>(from + i * from_pitch));
  transpose_in_blocks<Lane>(d, rows);
  for (std::size_t i = 0; i < n; ++i) hn::StoreU(rows[i], d, reinterpret_cast<Lane*>(to + i * to_pitch));
}

// Transposes a block in tiles of 16 bytes, and the rest element by element.
template <class Lane>
void transpose_tiles(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch,
                     std::size_t rows, std::size_t columns) {
  constexpr std::size_t n = 16 / sizeof(Lane);
  const std::size_t whole_rows = rows / n * n;
  const std::size_t whole_columns = columns / n * n;
  for (std::size_t r = 0; r < whole_rows; r += n)
    for (std::size_t c = 0; c < whole_columns; c += n)
      transpose_tile<Lane>(from + r * from_pitch + c * sizeof(Lane), from_pitch, to + c * to_pitch + r * sizeof(Lane),
                           to_pitch);
  // The columns right of the tiles, then the rows below them over the full width.
  transpose_elements<Lane>(from + whole_columns * sizeof(Lane), from_pitch, to + whole_columns * to_pitch, to_pitch,
                           whole_rows, columns - whole_columns);
  transpose_elements<Lane>(from + whole_rows * from_pitch, from_pitch, to + whole_rows * sizeof(Lane), to_pitch,
                           rows - whole_rows, columns);
}

// Blocks of 16 bytes per vector. A vector is at most as long as a cache line.
constexpr std::size_t vector_blocks = HWY_MIN(HWY_MAX_BYTES, 64) / 16;

// Transposes blocks: vectors[g] holds blocks (g, 0), (g, 1), ... before, and (0, g), (1, g), ... after.
template <class D, class V>
HWY_INLINE void transpose_blocks(D d, V (&vectors)[vector_blocks]) {
  // Vectors of 32 bytes have two blocks: a matrix of 2 x 2 is transposed by exchanging halves.
  if constexpr (vector_blocks == 2) {
    const V lower = hn::ConcatLowerLower(d, vectors[1], vectors[0]);
    vectors[1] = hn::ConcatUpperUpper(d, vectors[1], vectors[0]);
    vectors[0] = lower;
  } else if constexpr (vector_blocks == 4) {
    // 4 x 4 blocks: first the 2 x 2 quarters are exchanged as halves of vectors, then the blocks inside each quarter.
    const V even_lower = hn::ConcatLowerLower(d, vectors[2], vectors[0]);
    const V odd_lower = hn::ConcatLowerLower(d, vectors[3], vectors[1]);
    const V even_upper = hn::ConcatUpperUpper(d, vectors[2], vectors[0]);
    const V odd_upper = hn::ConcatUpperUpper(d, vectors[3], vectors[1]);
    vectors[0] = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(odd_lower), even_lower);
    vectors[1] = hn::OddEvenBlocks(odd_lower, hn::SwapAdjacentBlocks(even_lower));
    vectors[2] = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(odd_upper), even_upper);
    vectors[3] = hn::OddEvenBlocks(odd_upper, hn::SwapAdjacentBlocks(even_upper));
  }
}

// Transposes a square with as many rows as a vector has lanes: first the elements inside each block of 16 bytes, then
// the blocks. Each cache line is loaded once, and each stored vector is contiguous.
template <class Lane>
HWY_INLINE void transpose_square(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch,
                                 bool streaming) {
  constexpr std::size_t n = 16 / sizeof(Lane);
  const hn::FixedTag<Lane, n * vector_blocks> d;
  using V = hn::Vec<decltype(d)>;
  // Up to 16 x 4 vectors of 64 bytes, more than there are registers: the rest is on the stack, in the cache.
  V transposed[n][vector_blocks];
  for (std::size_t g = 0; g < vector_blocks; ++g) {
    V rows[n];
    for (std::size_t i = 0; i < n; ++i)
      rows[i] = hn::LoadU(d, reinterpret_cast<const Lane*>(from + (g * n + i) * from_pitch));
    transpose_in_blocks<Lane>(d, rows);
    // Row i of the transposed blocks of group g; the blocks of all groups together are the rows of the result.
    for (std::size_t i = 0; i < n; ++i) transposed[i][g] = rows[i];
  }
  for (std::size_t i = 0; i < n; ++i) {
    transpose_blocks(d, transposed[i]);
    for (std::size_t g = 0; g < vector_blocks; ++g) {
      auto* const run = reinterpret_cast<Lane*>(to + (g * n + i) * to_pitch);
      if (streaming)
        hn::Stream(transposed[i][g], d, run);
      else
        hn::StoreU(transposed[i][g], d, run);
    }
  }
}

template <class Lane>
void transpose_lanes(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch,
                     std::size_t rows, std::size_t columns, bool streaming) {
  constexpr std::size_t n = 16 / sizeof(Lane) * vector_blocks;
  const std::size_t whole_rows = rows / n * n;
  const std::size_t whole_columns = columns / n * n;
  for (std::size_t c = 0; c < whole_columns; c += n)
    for (std::size_t r = 0; r < whole_rows; r += n)
      // Down the columns, so that each row of the result is written front to back.
      transpose_square<Lane>(from + r * from_pitch + c * sizeof(Lane), from_pitch, to + c * to_pitch + r * sizeof(Lane),
                             to_pitch, streaming);
  // Rests in the same two parts as in transpose_tiles().
  transpose_tiles<Lane>(from + whole_columns * sizeof(Lane), from_pitch, to + whole_columns * to_pitch, to_pitch,
                        whole_rows, columns - whole_columns);
  transpose_tiles<Lane>(from + whole_rows * from_pitch, from_pitch, to + whole_rows * sizeof(Lane), to_pitch,
                        rows - whole_rows, columns);
}
#endif

void Swap(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) {
  switch (width) {
    case 2: return swap_lanes<std::uint16_t>(from, to, count);
    case 4: return swap_lanes<std::uint32_t>(from, to, count);
    case 8: return swap_lanes<std::uint64_t>(from, to, count);
    default:
      if (count > 0) std::memcpy(to, from, count * width);  // the pointers of an empty run can be null
  }
}

// Returns true when every whole vector of the result, on any target, is aligned to its size.
bool can_stream(const std::byte* to, std::size_t to_pitch) {
  constexpr std::size_t line = 64;
  // A line is the longest vector of any target; each row of the result starts at a multiple of the pitch.
  return reinterpret_cast<std::uintptr_t>(to) % line == 0 && to_pitch % line == 0;
}

void Transpose(std::size_t width, const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch,
               std::size_t rows, std::size_t columns, bool wants_streaming) {
  const bool streaming = wants_streaming && can_stream(to, to_pitch);
  switch (width) {
    case 1: return transpose_lanes<std::uint8_t>(from, from_pitch, to, to_pitch, rows, columns, streaming);
    case 2: return transpose_lanes<std::uint16_t>(from, from_pitch, to, to_pitch, rows, columns, streaming);
    case 4: return transpose_lanes<std::uint32_t>(from, from_pitch, to, to_pitch, rows, columns, streaming);
    default: return transpose_lanes<std::uint64_t>(from, from_pitch, to, to_pitch, rows, columns, streaming);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heft::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heft::kernels {

HWY_EXPORT(CopyStreaming);
HWY_EXPORT(CopyRows);
HWY_EXPORT(Swap);
HWY_EXPORT(Transpose);

void copy_run(const std::byte* from, std::byte* to, std::size_t size, Store store) noexcept {
  if (store == Store::streaming && size >= min_streamed_bytes)
    HWY_DYNAMIC_DISPATCH(CopyStreaming)(from, to, size);
  else
    std::memcpy(to, from, size);
}

void copy_rows(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch, std::size_t rows,
               std::size_t size, Store store) noexcept {
  if (store == Store::streaming && size >= min_streamed_bytes)
    return HWY_DYNAMIC_DISPATCH(CopyRows)(from, from_pitch, to, to_pitch, rows, size);
  for (std::size_t r = 0; r < rows; ++r) std::memcpy(to + r * to_pitch, from + r * from_pitch, size);
}

void finish_stores(Store store) noexcept {
  if (store == Store::streaming) hwy::FlushStream();
}

void swap_run(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(Swap)(width, from, to, count);
}

void transpose_block(std::size_t width, const std::byte* from, std::size_t from_pitch, std::byte* to,
                     std::size_t to_pitch, std::size_t rows, std::size_t columns, Store store) noexcept {
  HWY_DYNAMIC_DISPATCH(Transpose)(width, from, from_pitch, to, to_pitch, rows, columns, store == Store::streaming);
}

}  // namespace heft::kernels
#endif
