// heft/workers.hpp: threads that loads borrow.
#pragma once

#include <memory>

#include "heft/export.hpp"

namespace heft {

namespace engine {
struct WorkersAccess;
}

/// Threads that sleep until a load borrows them, for programs that load often: a load without them starts threads of
/// its own and ends them again, which costs it some 50 microseconds each.
///
/// A load on MaterializeOptions::workers runs on the calling thread and on those threads that no other load has
/// borrowed at that moment, as far as MaterializeOptions::threads allows; a load that finds none idle runs on the
/// calling thread alone. It never waits for a thread, so loads may share these threads with each other, and a load may
/// start another one in its callbacks. The threads are returned when the load has ended.
///
/// Threads: all members may be called from any thread. The destructor waits until no load uses the threads; each load
/// and each TensorStream keeps its Workers alive, so they may be released at any time. heft keeps no Workers itself.
///
/// Example:
///   const auto workers = std::make_shared<heft::Workers>(7);
///   const heft::Weights loaded = heft::materialize(plan, {.workers = workers});
///   const heft::Tensor again = heft::materialize(view, {.workers = workers});
class HEFT_API Workers {
 public:
  /// Starts `threads` threads. 0: one for each processor that this process may run on, at most 16, less one for the
  /// thread that calls materialize(); at least 1. They run on the processors that the calling thread may run on. Where
  /// the system starts fewer, those are used: see threads(). Throws Error{out_of_memory}.
  explicit Workers(unsigned threads = 0);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// The number of threads that were started. 0: the system refused the first one, and every load runs on the thread
  /// that calls it.
  [[nodiscard]] unsigned threads() const noexcept;

 private:
  friend struct engine::WorkersAccess;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace heft
