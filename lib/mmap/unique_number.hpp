// mmap/unique_number.hpp: numbers that names of new files are made of.
#pragma once

#include <cstdint>

namespace heft::mmap {

/// A number that no other call returns, as good as: from getrandom(), and unpredictable. Where the system refuses that,
/// from the clock, the process and a count; two processes may meet in one, and others may foresee it, so the caller
/// creates files with O_EXCL and asks again when there is one. Thread-safe.
std::uint64_t unique_number() noexcept;

}  // namespace heft::mmap
