// materialize/memory/worker_memory.hpp: the memory through which each worker of a load fetches bytes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "materialize/memory/arena.hpp"
#include "materialize/memory/memory_count.hpp"

namespace heft::engine {

/// The memory of all workers of a load.
class WorkerMemories {
 public:
  /// Sizes in bytes, of each worker's; 0: none.
  struct Sizes {
    unsigned workers = 1;
    std::uint64_t buffer = 0;  ///< For chunks that are read before they are converted or gathered.
    std::uint64_t ring = 0;    ///< For direct reads.
  };
  /// Allocates the buffers. Counts the rings too, which workers allocate when they first read directly. Throws
  /// Error{out_of_memory}.
  WorkerMemories(const Sizes& sizes, MemoryCount& count);
  /// Returns the bytes that the constructor adds to the count.
  [[nodiscard]] static std::uint64_t footprint(const Sizes& sizes) noexcept;
  /// Returns a worker's ring, of Sizes::ring. Throws Error{out_of_memory}.
  static std::shared_ptr<Arena> allocate_ring(std::uint64_t size_bytes);

  /// Returns the buffer of a worker that starts; null if the size is 0. To be called at most once for each worker, from
  /// any thread. Untouched pages of it take no memory.
  [[nodiscard]] std::shared_ptr<Arena> take_buffer() noexcept { return std::move(buffers_[next_.fetch_add(1)]); }

 private:
  static std::uint64_t ring_alignment(std::uint64_t size_bytes) noexcept;

  std::vector<std::shared_ptr<Arena>> buffers_;
  std::atomic<std::size_t> next_ = 0;
};

}  // namespace heft::engine
