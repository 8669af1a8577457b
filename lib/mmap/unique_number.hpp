// mmap/unique_number.hpp: numbers for the names of new files.
#pragma once

#include <cstdint>

namespace heft::mmap {

/// Returns a random number from getrandom(). If the system refuses the call, returns a number made of the clock, the
/// process id and a counter, which is predictable and can equal another process's. So the caller must create files with
/// O_EXCL, and call this again if the file exists. Can be called from several threads.
std::uint64_t unique_number() noexcept;

}  // namespace heft::mmap
