#include "materialize/memory/worker_memory.hpp"

namespace heft::engine {

WorkerMemories::WorkerMemories(const Sizes& sizes, MemoryCount& count) : memories_(sizes.workers) {
  for (WorkerMemory& memory : memories_) {
    // Addresses only: the pages are allocated when the worker touches them, on its own NUMA node.
    if (sizes.buffer != 0) memory.buffer = Arena::allocate(sizes.buffer, mmap::page_size());
    if (sizes.ring != 0) memory.ring = Arena::allocate(sizes.ring, Arena::huge_page);
    for (const Arena* arena : {memory.buffer.get(), memory.ring.get()})
      if (arena != nullptr) count.add(arena->footprint());
  }
}

std::uint64_t WorkerMemories::footprint(const Sizes& sizes) noexcept {
  std::uint64_t each = 0;
  // With the alignments above, on which the footprint of an arena depends.
  if (sizes.buffer != 0) each += Arena::footprint(sizes.buffer, mmap::page_size());
  if (sizes.ring != 0) each += Arena::footprint(sizes.ring, Arena::huge_page);
  return sizes.workers * each;
}

}  // namespace heft::engine
