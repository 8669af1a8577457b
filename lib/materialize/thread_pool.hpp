// materialize/thread_pool.hpp: threads for one load. The only file here that knows which library they come from.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>

namespace heft::engine {

/// Processors that this process may run on, by its affinity; at most `max`.
unsigned usable_threads(unsigned max) noexcept;

/// Some of the processors, for the workers of one load, until this dies.
///
/// What loads of this process have taken is counted together: the one thing that loads share, as they share the
/// machine. A load that leaves its number of threads to heft takes what others have left, and one at least; a load
/// that says how many gets them, and they count.
class ProcessorShare {
 public:
  /// `wanted` > 0; fewer when `at_most_free` and others have taken them.
  ProcessorShare(unsigned wanted, bool at_most_free) noexcept;
  ~ProcessorShare();
  ProcessorShare(const ProcessorShare&) = delete;
  ProcessorShare& operator=(const ProcessorShare&) = delete;
  [[nodiscard]] unsigned threads() const noexcept { return threads_; }

 private:
  unsigned threads_;
};

/// Calls work(0) on this thread and work(1) ... work(count - 1) on others, and returns when all have returned. `work`
/// must not throw. Where the system gives fewer threads, fewer calls are made, at least work(0): so `work` takes its
/// share from what is left, not by its number. Where there is more than one NUMA node, workers are bound to nodes in
/// turn while they run, and memory that they touch first is their node's. Returns the number of calls made.
unsigned run_workers(unsigned count, const std::function<void(unsigned worker)>& work);

/// Starts `work`, which must not throw, on a thread of its own. Letting the result go waits for its end. Null, and
/// nothing is started, when the system gives no thread.
std::shared_ptr<void> start_thread(std::function<void()> work);

/// The first exception of several threads, and the word that it is time to stop. All members may be called from any
/// thread.
class FirstFailure {
 public:
  /// Keeps the exception being handled, unless there is one already.
  void capture() noexcept;
  [[nodiscard]] bool happened() const noexcept { return happened_.load(std::memory_order_acquire); }
  /// Throws the exception, if there was one. To be called when the others have ended.
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr first_;
  std::atomic<bool> happened_ = false;
};

}  // namespace heft::engine
