#include "materialize/memory/worker_memory.hpp"

namespace heft::engine {

WorkerMemories::WorkerMemories(const Sizes& sizes, MemoryCount& count) : buffers_(sizes.workers) {
  for (std::shared_ptr<Arena>& buffer : buffers_)
    // Addresses only: the pages are allocated when the worker touches them, on its own NUMA node.
    if (sizes.buffer != 0) buffer = Arena::allocate(sizes.buffer, mmap::page_size());
  count.add(footprint(sizes));
}

std::shared_ptr<Arena> WorkerMemories::allocate_ring(std::uint64_t size_bytes) {
  return Arena::allocate(size_bytes, ring_alignment(size_bytes));
}

// On huge pages a read in flight is split into fewer pieces for the device.
std::uint64_t WorkerMemories::ring_alignment(std::uint64_t size_bytes) noexcept {
  return size_bytes < Arena::huge_page ? mmap::page_size() : std::size_t{Arena::huge_page};
}

std::uint64_t WorkerMemories::footprint(const Sizes& sizes) noexcept {
  std::uint64_t each = 0;
  // With the alignments above, on which the footprint of an arena depends.
  if (sizes.buffer != 0) each += Arena::footprint(sizes.buffer, mmap::page_size());
  if (sizes.ring != 0) each += Arena::footprint(sizes.ring, ring_alignment(sizes.ring));
  return sizes.workers * each;
}

}  // namespace heft::engine
