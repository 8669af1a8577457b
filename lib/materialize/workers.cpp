#include "heft/workers.hpp"

#include <algorithm>
#include <new>

#include "heft/error.hpp"
#include "materialize/workers_state.hpp"

namespace heft {

Workers::Workers(unsigned threads) {
  // The thread that calls materialize() works as well, so that one fewer fills the processors.
  if (threads == 0) threads = std::max(engine::usable_threads(engine::max_threads) - 1, 1u);
  try {
    state_ = std::make_unique<State>(threads);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory, "no memory for a table of threads");
  }
}

Workers::~Workers() = default;

unsigned Workers::threads() const noexcept { return state_->pool.threads(); }

engine::ThreadPool& engine::WorkersAccess::pool(Workers& workers) noexcept { return workers.state_->pool; }

}  // namespace heft
