// core/once.hpp: initialization on first use, by one of several threads.
#pragma once

#include <atomic>
#include <mutex>

namespace heft::core {

/// Runs a function once, in the thread that calls first; other threads wait for it. If the function throws, the next
/// call runs it again.
///
/// Not std::call_once: glibc's pthread_once() loads libgcc_s before it passes an exception on, and terminates the
/// process if there is no memory to load it.
class Once {
 public:
  template <class Function>
  void call(const Function& function) {
    if (is_done_.load(std::memory_order_acquire)) return;
    const std::lock_guard lock(mutex_);
    if (is_done_.load(std::memory_order_relaxed)) return;
    function();
    is_done_.store(true, std::memory_order_release);
  }

 private:
  std::mutex mutex_;
  std::atomic<bool> is_done_ = false;
};

}  // namespace heft::core
