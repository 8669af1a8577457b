// bench/subjects/stream.hpp: the fastest read and write of memory on this processor.
#pragma once

#include <cstddef>
#include <span>

namespace bench {

/// Reads all of `in` and fills all of `out`, with non-temporal stores if the build has them. Both must be aligned to 64
/// bytes, sizes must be multiples of 256, and one size 1, 2 or 4 times the other. The written bytes depend on the read
/// ones, so that no read can be optimized away; they have no other meaning.
void stream(std::span<const std::byte> in, std::span<std::byte> out) noexcept;

}  // namespace bench
