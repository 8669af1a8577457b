// materialize/workers.hpp: threads for one load. The only file here that knows which library they come from.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>

namespace heft::engine {

/// Threads that this process may run on, at most `most`.
unsigned usable_threads(unsigned most) noexcept;

/// Calls work(0) on this thread and work(1) ... work(count - 1) on others, and returns when all have returned. `work` must not throw. Where the
/// system gives fewer threads, fewer calls are made, at least work(0): so `work` takes its share from what is left, not by its number.
/// Returns the number of calls made.
unsigned run_workers(unsigned count, const std::function<void(unsigned worker)>& work);

/// Starts `work`, which must not throw, on a thread of its own. Letting the result go waits for its end. Throws Error{out_of_memory} when the
/// system gives no thread.
std::shared_ptr<void> start_thread(std::function<void()> work);

/// The first exception of several threads, and the word that it is time to stop. All members may be called from any thread.
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
