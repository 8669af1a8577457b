#include <numa.h>

#include <memory>
#include <vector>

#include "materialize/memory/numa.hpp"

namespace heft::engine {
namespace {

struct FreeMask {
  void operator()(::bitmask* mask) const noexcept { ::numa_free_cpumask(mask); }
};

// Processors of a node among `allowed`.
::cpu_set_t processors_of(int node, const ::cpu_set_t& allowed) noexcept {
  ::cpu_set_t found;
  CPU_ZERO(&found);
  const std::unique_ptr<::bitmask, FreeMask> mask(::numa_allocate_cpumask());
  if (!mask || ::numa_node_to_cpus(node, mask.get()) < 0) return found;
  // Restricted to the caller's own affinity, which the binding must not widen.
  for (unsigned cpu = 0; cpu < CPU_SETSIZE && cpu < mask->size; ++cpu)
    if (::numa_bitmask_isbitset(mask.get(), cpu) != 0 && CPU_ISSET(cpu, &allowed)) CPU_SET(cpu, &found);
  return found;
}

}  // namespace

NodeBinding::NodeBinding(unsigned worker) noexcept {
  if (::numa_available() < 0 || ::numa_max_node() == 0 || ::sched_getaffinity(0, sizeof before_, &before_) != 0) return;
  // On the stack: this runs on worker threads and must not fail. Further nodes are not used.
  ::cpu_set_t nodes[64];
  unsigned count = 0;
  for (int node = 0; node <= ::numa_max_node() && count < 64; ++node) {
    nodes[count] = processors_of(node, before_);
    if (CPU_COUNT(&nodes[count]) != 0) ++count;
  }
  // With one usable node there is nothing to choose, and the thread may move between its processors.
  is_bound_ = count > 1 && ::sched_setaffinity(0, sizeof before_, &nodes[worker % count]) == 0;
}

NodeBinding::~NodeBinding() {
  if (is_bound_) ::sched_setaffinity(0, sizeof before_, &before_);
}

}  // namespace heft::engine
