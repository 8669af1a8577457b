// Kernels that move bytes without knowing what they mean. Compiled once for each target by foreach_target.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "materialize/kernels_move.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which sets what highway.h reads.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstring>

#include "materialize/kernels.hpp"

HWY_BEFORE_NAMESPACE();
namespace heft::engine {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

void CopyStreaming(const std::byte* from, std::byte* to, std::size_t size) {
  constexpr std::size_t line = 64;
  const hn::ScalableTag<std::uint8_t> d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t into_line = reinterpret_cast<std::uintptr_t>(to) % line;
  const std::size_t head = into_line == 0 ? 0 : HWY_MIN(size, line - into_line);
  std::memcpy(to, from, head);
  const auto* source = reinterpret_cast<const std::uint8_t*>(from);
  auto* target = reinterpret_cast<std::uint8_t*>(to);
  std::size_t i = head;
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

void CopyRows(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch, std::size_t rows, std::size_t size) {
  for (std::size_t r = 0; r < rows; ++r) CopyStreaming(from + r * from_pitch, to + r * to_pitch, size);
}

template <std::size_t width>
void swap_elements(const std::byte* from, std::byte* to, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t byte = 0; byte < width; ++byte) to[i * width + byte] = from[(i + 1) * width - 1 - byte];
}

template <class Lane>
void transpose_elements(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch, std::size_t rows, std::size_t columns) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) std::memcpy(to + c * to_pitch + r * sizeof(Lane), from + r * from_pitch + c * sizeof(Lane), sizeof(Lane));
}

// The scalar target has vectors of one lane, in which there is nothing to shuffle.
#if HWY_TARGET == HWY_SCALAR
template <class Lane>
void swap_lanes(const std::byte* from, std::byte* to, std::size_t count) {
  swap_elements<sizeof(Lane)>(from, to, count);
}

template <class Lane>
void transpose_lanes(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch, std::size_t rows, std::size_t columns) {
  transpose_elements<Lane>(from, from_pitch, to, to_pitch, rows, columns);
}
#else
// The bytes of each lane reversed: bytes in 16-bit lanes, then those in 32-bit lanes, then those in 64-bit lanes.
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
      if constexpr (sizeof(Lane) == 4) hn::StoreU(hn::BitCast(d, quads), d, target + i);
      else hn::StoreU(hn::BitCast(d, hn::Shuffle2301(quads)), d, target + i);
    }
  }
  swap_elements<sizeof(Lane)>(from + i * sizeof(Lane), to + i * sizeof(Lane), count - i);
}

// n columns of n rows, n elements in 16 bytes: log2(n) times, vectors i and i + n/2 are interleaved into vectors 2i and
// 2i + 1. Of more rows at once, more would lie in the same places of the first-level cache.
template <class Lane>
HWY_INLINE void transpose_tile(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch) {
  constexpr std::size_t n = 16 / sizeof(Lane);
  const hn::FixedTag<Lane, n> d;
  hn::Vec<decltype(d)> rows[n];
  hn::Vec<decltype(d)> mixed[n];
  for (std::size_t i = 0; i < n; ++i) rows[i] = hn::LoadU(d, reinterpret_cast<const Lane*>(from + i * from_pitch));
  for (std::size_t step = 1; step < n; step *= 2) {
    for (std::size_t i = 0; i < n / 2; ++i) {
      mixed[2 * i] = hn::InterleaveLower(d, rows[i], rows[i + n / 2]);
      mixed[2 * i + 1] = hn::InterleaveUpper(d, rows[i], rows[i + n / 2]);
    }
    for (std::size_t i = 0; i < n; ++i) rows[i] = mixed[i];
  }
  for (std::size_t i = 0; i < n; ++i) hn::StoreU(rows[i], d, reinterpret_cast<Lane*>(to + i * to_pitch));
}

template <class Lane>
void transpose_lanes(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch, std::size_t rows, std::size_t columns) {
  constexpr std::size_t n = 16 / sizeof(Lane);
  const std::size_t whole_rows = rows / n * n;
  const std::size_t whole_columns = columns / n * n;
  for (std::size_t r = 0; r < whole_rows; r += n)
    for (std::size_t c = 0; c < whole_columns; c += n)
      transpose_tile<Lane>(from + r * from_pitch + c * sizeof(Lane), from_pitch, to + c * to_pitch + r * sizeof(Lane), to_pitch);
  transpose_elements<Lane>(from + whole_columns * sizeof(Lane), from_pitch, to + whole_columns * to_pitch, to_pitch, whole_rows, columns - whole_columns);
  transpose_elements<Lane>(from + whole_rows * from_pitch, from_pitch, to + whole_rows * sizeof(Lane), to_pitch, rows - whole_rows, columns);
}
#endif

void Swap(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) {
  switch (width) {
    case 2: return swap_lanes<std::uint16_t>(from, to, count);
    case 4: return swap_lanes<std::uint32_t>(from, to, count);
    case 8: return swap_lanes<std::uint64_t>(from, to, count);
    default:
      if (count > 0) std::memcpy(to, from, count * width);  // an empty range may be null
  }
}

void Transpose(std::size_t width, const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch, std::size_t rows,
               std::size_t columns) {
  switch (width) {
    case 1: return transpose_lanes<std::uint8_t>(from, from_pitch, to, to_pitch, rows, columns);
    case 2: return transpose_lanes<std::uint16_t>(from, from_pitch, to, to_pitch, rows, columns);
    case 4: return transpose_lanes<std::uint32_t>(from, from_pitch, to, to_pitch, rows, columns);
    default: return transpose_lanes<std::uint64_t>(from, from_pitch, to, to_pitch, rows, columns);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heft::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heft::engine {

HWY_EXPORT(CopyStreaming);
HWY_EXPORT(CopyRows);
HWY_EXPORT(Swap);
HWY_EXPORT(Transpose);

void copy_run(const std::byte* from, std::byte* to, std::size_t size, Store store) noexcept {
  if (store == Store::streaming && size >= shortest_streamed) HWY_DYNAMIC_DISPATCH(CopyStreaming)(from, to, size);
  else std::memcpy(to, from, size);
}

void copy_rows(const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch, std::size_t rows, std::size_t size, Store store) noexcept {
  if (store == Store::streaming && size >= shortest_streamed) return HWY_DYNAMIC_DISPATCH(CopyRows)(from, from_pitch, to, to_pitch, rows, size);
  for (std::size_t r = 0; r < rows; ++r) std::memcpy(to + r * to_pitch, from + r * from_pitch, size);
}

void finish_stores(Store store) noexcept {
  if (store == Store::streaming) hwy::FlushStream();
}

void swap_run(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(Swap)(width, from, to, count);
}

void transpose_block(std::size_t width, const std::byte* from, std::size_t from_pitch, std::byte* to, std::size_t to_pitch, std::size_t rows,
                     std::size_t columns) noexcept {
  HWY_DYNAMIC_DISPATCH(Transpose)(width, from, from_pitch, to, to_pitch, rows, columns);
}

}  // namespace heft::engine
#endif
