// bench/subjects/direct.hpp: reads a file past the page cache with many requests in flight, as plainly as can be.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bench {

struct DirectRead {
  int file = -1;  ///< Opened with O_DIRECT.
  std::uint64_t size_bytes = 0;
  std::byte* to = nullptr;        ///< On a multiple of 4096, with room for size_bytes rounded up to `block_bytes`.
  std::uint64_t block_bytes = 0;  ///< A multiple of 4096.
  unsigned depth = 1;
};

/// One thread a request in flight. Throws std::runtime_error.
void direct_pread(const DirectRead& read);

/// One io_uring, `depth` requests in it. Throws Absent where the build or the kernel has none.
void direct_uring(const DirectRead& read);

}  // namespace bench
