// core/once.hpp: what is made when it is first asked for.
#pragma once

#include <atomic>
#include <mutex>

namespace heft::core {

/// Runs a function once, whichever of several threads comes first; the others wait for it. Where it throws, the next call
/// runs it again.
///
/// Not std::call_once: glibc's pthread_once() lets an exception through only after it has loaded libgcc_s, and ends the
/// process where there is no memory left to load it with.
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
