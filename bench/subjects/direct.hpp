// bench/subjects/direct.hpp: minimal direct reads of a file with many requests in flight.
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

/// Reads with one thread per request in flight. Throws std::runtime_error.
void direct_pread(const DirectRead& read);

/// Reads with one io_uring of `depth` requests. Throws Absent if the build or the kernel has no io_uring.
void direct_uring(const DirectRead& read);

}  // namespace bench
