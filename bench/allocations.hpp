// bench/allocations.hpp: how often this program, and the libraries in it, asked the language for memory.
#pragma once

#include <cstdint>

namespace bench {

/// Calls of operator new so far, on all threads.
std::uint64_t allocation_count() noexcept;

}  // namespace bench
