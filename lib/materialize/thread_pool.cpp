#include "materialize/thread_pool.hpp"

#include <sched.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <new>
#include <thread>
#include <utility>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include "materialize/memory/numa.hpp"

namespace heft::engine {
namespace {

// By the workers of all loads of this process. Constant-initialised; a count and nothing else.
constinit std::atomic<unsigned> processors_taken = 0;

using Pool = boost::asio::thread_pool;

// Waits for what was posted. Pool itself would drop what no thread has taken yet.
struct Joined {
  explicit Joined(unsigned threads) : pool(threads) {}
  ~Joined() { pool.join(); }
  Pool pool;
};

// A pool, or none when the system has no threads or no memory for it.
std::shared_ptr<Joined> open_pool(unsigned threads) noexcept {
  try {
    return std::make_shared<Joined>(threads);
  } catch (const std::exception&) {
    return nullptr;
  }
}

// False when there is no memory for it.
template <class Work>
bool posted(Joined& to, Work&& work) noexcept {
  try {
    boost::asio::post(to.pool, std::forward<Work>(work));
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace

unsigned usable_threads(unsigned max) noexcept {
  ::cpu_set_t allowed;
  const bool known = ::sched_getaffinity(0, sizeof allowed, &allowed) == 0;
  return std::clamp(known ? static_cast<unsigned>(CPU_COUNT(&allowed)) : std::thread::hardware_concurrency(), 1u, max);
}

ProcessorShare::ProcessorShare(unsigned wanted, bool at_most_free) noexcept : threads_(wanted) {
  const unsigned all = usable_threads(std::numeric_limits<unsigned>::max());
  unsigned taken = processors_taken.load(std::memory_order_relaxed);
  do {
    if (at_most_free) threads_ = std::clamp(all - std::min(all, taken), 1u, wanted);
  } while (!processors_taken.compare_exchange_weak(taken, taken + threads_, std::memory_order_relaxed));
}

ProcessorShare::~ProcessorShare() { processors_taken.fetch_sub(threads_, std::memory_order_relaxed); }

unsigned run_workers(unsigned count, const std::function<void(unsigned worker)>& work) {
  const auto run = [&work](unsigned worker) {
    const NodeBinding binding(worker);
    work(worker);
  };
  std::shared_ptr<Joined> pool = count > 1 ? open_pool(count - 1) : nullptr;
  unsigned started = 1;
  while (pool && started < count && posted(*pool, [&run, worker = started] { run(worker); })) ++started;
  if (started == 1)
    work(0);
  else
    run(0);
  return started;
}

std::shared_ptr<void> start_thread(std::function<void()> work) {
  std::shared_ptr<Joined> thread = open_pool(1);
  if (!thread || !posted(*thread, std::move(work))) return nullptr;
  return thread;
}

void FirstFailure::capture() noexcept {
  const std::lock_guard lock(mutex_);
  if (!first_) first_ = std::current_exception();
  happened_.store(true, std::memory_order_release);
}

}  // namespace heft::engine
