// kernels/gather.hpp: gathering of numbers that each follow a head byte, with SIMD chosen at run time.
#pragma once

#include <cstddef>

namespace heft::kernels {

/// As core::gather_run(), against which it is tested on every target: copies up to `count` numbers, each of `width`
/// bytes (1, 2, 4 or 8) after a head byte equal to `*from`, packed to `to` in host order. Returns how many. Requires no
/// alignment; reads nothing after the last number.
std::size_t gather_run(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) noexcept;

}  // namespace heft::kernels
