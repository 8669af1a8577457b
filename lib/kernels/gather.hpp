// kernels/gather.hpp: numbers spelled one by one, gathered with SIMD, chosen at run time.
#pragma once

#include <cstddef>

namespace heft::engine {

/// core::gather_run(), which it is tested against on every target: as many numbers of the head `*from` and `width`
/// (1, 2, 4 or 8) bytes each as there are, `count` at most, in host order to `to`. Needs no alignment; reads nothing
/// after the last number.
std::size_t gather_run(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) noexcept;

}  // namespace heft::engine
