#include "core/gather_run.hpp"

#include <bit>

namespace heft::core {
namespace {

template <std::size_t width>
std::size_t gather_run_of(const std::byte* from, std::byte* to, std::size_t count) noexcept {
  constexpr std::size_t stride = width + 1;
  const std::byte head = from[0];
  for (std::size_t i = 0; i < count; ++i) {
    if (from[i * stride] != head) return i;
    for (std::size_t byte = 0; byte < width; ++byte)
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
