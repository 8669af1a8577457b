// core/gather_run.hpp: big-endian numbers, each after the same byte, gathered into packed memory.
#pragma once

#include <cstddef>

namespace heft::core {

/// Copies up to `count` numbers, each of `width` bytes (1, 2, 4 or 8) after a head byte equal to `*from`: the values
/// are packed at `to` in host order. Returns how many were copied: `count`, or those before the first number with
/// another head. Requires no alignment; reads nothing after the last number. Scalar: the vector version is tested
/// against it.
std::size_t gather_run(std::size_t width, const std::byte* from, std::byte* to, std::size_t count) noexcept;

}  // namespace heft::core
