// materialize/memory/worker_memory.hpp: the memory through which each worker of a load fetches bytes, allocated before
// the first of them.
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

/// One worker's memory. Untouched pages of it take nothing.
struct WorkerMemory {
  std::shared_ptr<Arena> buffer;  ///< For chunks that are read before they are converted or gathered; can be null.
  std::shared_ptr<Arena> ring;    ///< For direct reads; can be null.
};

/// The memory of all workers of a load.
class WorkerMemories {
 public:
  /// Sizes in bytes, of each worker's; 0: none.
  struct Sizes {
    unsigned workers = 1;
    std::uint64_t buffer = 0;
    std::uint64_t ring = 0;
  };
  /// Throws Error{out_of_memory}.
  WorkerMemories(const Sizes& sizes, MemoryCount& count);
  /// Returns the bytes that the constructor adds to the count.
  [[nodiscard]] static std::uint64_t footprint(const Sizes& sizes) noexcept;

  /// The memory of a worker that starts. To be called at most once for each worker, from any thread.
  [[nodiscard]] WorkerMemory take() noexcept { return std::move(memories_[next_.fetch_add(1)]); }

 private:
  std::vector<WorkerMemory> memories_;
  std::atomic<std::size_t> next_ = 0;
};

}  // namespace heft::engine
