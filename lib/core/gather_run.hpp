// core/gather_run.hpp: big-endian numbers, each after the same byte, gathered into packed memory.
#pragma once

#include <cstddef>

namespace heft::core {

/// Copies numbers that all have the head `*from` and `width` bytes (1, 2, 4 or 8) after it: each value in host order to `to`, packed.
/// Returns how many were copied: `count`, or those before the first number with another head. Requires no alignment; reads nothing
/// after the last number. Scalar: a faster one is tested against it.
std::size_t gather_run(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) noexcept;

}  // namespace heft::core
