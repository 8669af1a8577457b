// bench/allocations.hpp: the count of allocations by this program and its libraries.
#pragma once

#include <cstdint>

namespace bench {

/// Returns the calls of operator new so far, on all threads.
std::uint64_t allocation_count() noexcept;

}  // namespace bench
