// materialize/memory/numa.hpp: threads on nodes of memory. numa_libnuma.cpp is it, by libnuma; numa_none.cpp takes its
// place in a build without.
#pragma once

#include <sched.h>

namespace heft::engine {

/// Keeps the calling thread on processors of one node while it lives: of the `worker`th, counted round and round
/// among those that the thread may run on. Does nothing where there is one such node only. The thread's own affinity
/// is only ever narrowed, and given back at the end.
class NodeBinding {
 public:
  explicit NodeBinding(unsigned worker) noexcept;
  ~NodeBinding();
  NodeBinding(const NodeBinding&) = delete;
  NodeBinding& operator=(const NodeBinding&) = delete;

 private:
  ::cpu_set_t before_;
  bool is_bound_ = false;
};

}  // namespace heft::engine
