// materialize/thread_pool.hpp: threads for loads. thread_pool.cpp alone includes the library that they come from.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace heft::engine {

/// More threads than this add nothing where memory is the limit, and take processors from others.
inline constexpr unsigned max_threads = 16;

/// Processors that this process may run on, by its affinity; at most `max`.
unsigned usable_threads(unsigned max) noexcept;

/// Some of the processors, for the workers of one load, until this is destroyed.
///
/// One counter of the process has the processors that its loads have taken: the only thing that loads share, as they
/// share the machine. A load that leaves its number of threads to heft gets those that are left, at least one; a load
/// that states a number gets it, and is counted.
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

/// Threads that sleep until they are given work. All members may be called from any thread.
class ThreadPool {
 public:
  /// Starts `threads` threads, or as many as the system has threads and memory for.
  explicit ThreadPool(unsigned threads) noexcept;
  /// Waits for the work that was given.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// The number of threads that were started.
  [[nodiscard]] unsigned threads() const noexcept { return static_cast<unsigned>(threads_.size()); }
  /// Runs `work` and then `done`, which must not throw, on an idle thread, which is idle again before `done` is called.
  /// False, and nothing is run, when all threads have work, or when there is no memory for it: work is never queued, so
  /// that it cannot wait for work that waits for it.
  bool try_run(const std::function<void()>& work, const std::function<void()>& done) noexcept;

 private:
  class Thread;
  std::vector<std::unique_ptr<Thread>> threads_;
};

/// Calls on threads of a pool that are waited for together.
class Crew {
 public:
  Crew() = default;
  /// Waits as wait().
  ~Crew() { wait(); }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  /// Runs `work`, which must not throw, on an idle thread of `pool`. False, and nothing is run, when there is none.
  bool start(ThreadPool& pool, const std::function<void()>& work) noexcept;
  /// Returns when all calls have returned.
  void wait() noexcept;

 private:
  void leave() noexcept;

  std::mutex mutex_;
  std::condition_variable changed_;
  unsigned running_ = 0;
};

/// Calls work(0) on this thread and work(1) ... work(count - 1) on idle threads of `pool`, and returns when all have
/// returned. `work` must not throw. Where the pool has fewer idle threads, fewer calls are made, at least work(0): so
/// `work` takes its share from what is left, not by its number. Where there is more than one NUMA node, workers are
/// bound to nodes in turn while they run, and memory that they touch first is their node's. Null: this thread only.
/// Returns the number of calls made.
unsigned run_workers(ThreadPool* pool, unsigned count, const std::function<void(unsigned worker)>& work);

/// The first exception of several threads, and a flag that tells the others to stop. All members may be called from any
/// thread.
class FirstFailure {
 public:
  /// Keeps `failure`, the exception being handled if none is given, unless there is one already. Returns true if kept.
  bool capture(std::exception_ptr failure = std::current_exception()) noexcept;
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
