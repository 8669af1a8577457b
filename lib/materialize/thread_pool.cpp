#include "materialize/thread_pool.hpp"

#include <sched.h>

#include <algorithm>
#include <exception>
#include <functional>
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

}  // namespace

unsigned usable_threads(unsigned max) noexcept {
  ::cpu_set_t allowed;
  // Fails where the machine has more processors than a cpu_set_t has bits (1024).
  const bool known = ::sched_getaffinity(0, sizeof allowed, &allowed) == 0;
  return std::clamp(known ? static_cast<unsigned>(CPU_COUNT(&allowed)) : std::thread::hardware_concurrency(), 1u, max);
}

ProcessorShare::ProcessorShare(unsigned wanted, bool at_most_free) noexcept : threads_(wanted) {
  // One is the least, whatever others have taken: the system is not asked.
  if (wanted == 1) at_most_free = false;
  // Compare and exchange: of two loads that start at once, the second takes the processors that the first has left.
  // Relaxed order is enough for a count that guards no memory.
  const unsigned all = at_most_free ? usable_threads(std::numeric_limits<unsigned>::max()) : wanted;
  unsigned taken = processors_taken.load(std::memory_order_relaxed);
  do {
    if (at_most_free) threads_ = std::clamp(all - std::min(all, taken), 1u, wanted);
  } while (!processors_taken.compare_exchange_weak(taken, taken + threads_, std::memory_order_relaxed));
}

ProcessorShare::~ProcessorShare() { processors_taken.fetch_sub(threads_, std::memory_order_relaxed); }

// One thread in a pool of its own, so that work is given to it only while it is idle.
class ThreadPool::Thread {
 public:
  // Waits for the work that was posted. The pool's destructor would drop work that its thread has not begun.
  ~Thread() { pool_.join(); }

  // False when the thread has work already, or there is no memory for more.
  bool try_run(const std::function<void()>& work, const std::function<void()>& done) noexcept {
    // Pairs with the release below: this work sees the writes of the work before it.
    if (is_busy_.exchange(true, std::memory_order_acquire)) return false;
    try {
      boost::asio::post(pool_, [this, work, done] {
        work();
        // Idle before `done` is called: a caller that waits for `done` may give this thread work at once.
        is_busy_.store(false, std::memory_order_release);
        done();
      });
      return true;
    } catch (const std::bad_alloc&) {
      is_busy_.store(false, std::memory_order_release);
      return false;
    }
  }

 private:
  std::atomic<bool> is_busy_ = false;
  boost::asio::thread_pool pool_{1};
};

ThreadPool::ThreadPool(unsigned threads) noexcept {
  try {
    threads_.reserve(threads);
    while (threads_.size() < threads) threads_.push_back(std::make_unique<Thread>());
  } catch (const std::exception&) {
    // The system has no more threads, or no memory for them.
  }
}

ThreadPool::~ThreadPool() = default;

bool ThreadPool::try_run(const std::function<void()>& work, const std::function<void()>& done) noexcept {
  return std::any_of(threads_.begin(), threads_.end(), [&](const auto& thread) { return thread->try_run(work, done); });
}

bool Crew::start(ThreadPool& pool, const std::function<void()>& work) noexcept {
  {
    const std::lock_guard lock(mutex_);
    // Counted before it starts: leave() may be called before try_run() has returned.
    ++running_;
  }
  if (pool.try_run(work, [this] { leave(); })) return true;
  leave();
  return false;
}

// Notifies under the lock: the crew may be gone as soon as it is released.
void Crew::leave() noexcept {
  const std::lock_guard lock(mutex_);
  --running_;
  changed_.notify_all();
}

void Crew::wait() noexcept {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return running_ == 0; });
}

unsigned run_workers(ThreadPool* pool, unsigned count, const std::function<void(unsigned worker)>& work) {
  const auto run = [&work](unsigned worker) {
    // Bound before the work, which touches the worker's memory first: the kernel allocates it on this node.
    const NodeBinding binding(worker);
    work(worker);
  };
  // The calling thread makes one of the calls.
  count = pool == nullptr ? 1 : std::min(count, pool->threads() + 1);
  Crew crew;
  unsigned started = 1;
  while (started < count && crew.start(*pool, [&run, worker = started] { run(worker); })) ++started;
  // Alone, the caller's thread stays on the processors that the system chose for it.
  if (started == 1)
    work(0);
  else
    run(0);
  crew.wait();
  return started;
}

bool FirstFailure::capture(std::exception_ptr failure) noexcept {
  const std::lock_guard lock(mutex_);
  if (first_) return false;
  // The flag follows the exception, with release order: where happened() is true, the exception is kept.
  first_ = std::move(failure);
  happened_.store(true, std::memory_order_release);
  return true;
}

}  // namespace heft::engine
