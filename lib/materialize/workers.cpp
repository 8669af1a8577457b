#include "materialize/workers.hpp"

#include <sched.h>

#include <algorithm>
#include <limits>
#include <thread>
#include <utility>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include "heft/error.hpp"
#include "materialize/numa.hpp"

namespace heft::engine {
namespace {

// By the workers of all loads of this process. Constant-initialised; a count and nothing else.
constinit std::atomic<unsigned> processors_taken = 0;

// A pool, or none when the system refuses the threads.
std::unique_ptr<boost::asio::thread_pool> open_pool(unsigned threads) noexcept {
  try {
    return std::make_unique<boost::asio::thread_pool>(threads);
  } catch (const std::exception&) {
    return nullptr;
  }
}

}  // namespace

unsigned usable_threads(unsigned most) noexcept {
  ::cpu_set_t allowed;
  const bool known = ::sched_getaffinity(0, sizeof allowed, &allowed) == 0;
  return std::clamp(known ? static_cast<unsigned>(CPU_COUNT(&allowed)) : std::thread::hardware_concurrency(), 1u, most);
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
  const std::unique_ptr<boost::asio::thread_pool> pool = count > 1 ? open_pool(count - 1) : nullptr;
  if (!pool) {
    work(0);
    return 1;
  }
  const auto run = [&work](unsigned worker) {
    const NodeBinding binding(worker);
    work(worker);
  };
  for (unsigned worker = 1; worker < count; ++worker) boost::asio::post(*pool, [&run, worker] { run(worker); });
  run(0);
  pool->join();
  return count;
}

std::shared_ptr<void> start_thread(std::function<void()> work) {
  std::shared_ptr<boost::asio::thread_pool> pool = open_pool(1);
  if (!pool) throw Error(ErrorCode::out_of_memory, "expected a thread, the system has none to give");
  boost::asio::post(*pool, std::move(work));
  return {pool.get(), [pool](void*) { pool->join(); }};
}

void FirstFailure::capture() noexcept {
  const std::lock_guard lock(mutex_);
  if (!first_) first_ = std::current_exception();
  happened_.store(true, std::memory_order_release);
}

}  // namespace heft::engine
