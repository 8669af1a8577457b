// bench/subjects/stream.hpp: the fastest way through memory that this processor offers a program.
#pragma once

#include <cstddef>
#include <span>

namespace bench {

/// Reads all of `in` and fills all of `out`, past the caches where the processor can (non-temporal stores). Both on
/// multiples of 64 bytes, sizes multiples of 256, and one 1, 2 or 4 times the other. What is written depends on what is
/// read, and is of no other use.
void stream(std::span<const std::byte> in, std::span<std::byte> out) noexcept;

}  // namespace bench
