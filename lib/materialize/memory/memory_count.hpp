// materialize/memory/memory_count.hpp: the host memory that one load has allocated.
#pragma once

#include <cstdint>

namespace heft::engine {

/// The sum of the allocations of one load, for LoadStats::host_bytes. One thread at a time.
class MemoryCount {
 public:
  void add(std::uint64_t bytes) noexcept { bytes_ += bytes; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  std::uint64_t bytes_ = 0;
};

}  // namespace heft::engine
