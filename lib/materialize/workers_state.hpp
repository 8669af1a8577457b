// materialize/workers_state.hpp: the state of Workers.
#pragma once

#include "heft/workers.hpp"
#include "materialize/thread_pool.hpp"

namespace heft {

struct [[gnu::visibility("hidden")]] Workers::State {
  explicit State(unsigned threads) : pool(threads) {}
  engine::ThreadPool pool;
};

}  // namespace heft

namespace heft::engine {

/// The key to the threads of Workers.
struct WorkersAccess {
  static ThreadPool& pool(Workers& workers) noexcept;
};

}  // namespace heft::engine
