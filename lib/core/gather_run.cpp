#include "core/gather_run.hpp"

#include <bit>

namespace heft::core {
namespace {

// Returns the count of numbers gathered. The width is a constant, so that the compiler unrolls the inner loop.
template <std::size_t width>
std::size_t gather_run_of(const std::byte* from, std::byte* to, std::size_t count) noexcept {
  constexpr std::size_t stride = width + 1;
  // The head is the type code of a number (MessagePack's 0xCB before a f64), which holds for a whole run.
  const std::byte head = from[0];
  for (std::size_t i = 0; i < count; ++i) {
    if (from[i * stride] != head) return i;
    for (std::size_t byte = 0; byte < width; ++byte)
      // Big-endian in the file: byte 0 is the most significant one, the last in memory of a little-endian host.
      to[i * width + (std::endian::native == std::endian::little ? width - 1 - byte : byte)] =
          from[i * stride + 1 + byte];
  }
  return count;
}

}  // namespace

std::size_t gather_run(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) noexcept {
  switch (width) {
    case 1: return gather_run_of<1>(from, to, count);
    case 2: return gather_run_of<2>(from, to, count);
    case 4: return gather_run_of<4>(from, to, count);
    default: return gather_run_of<8>(from, to, count);
  }
}

}  // namespace heft::core
