#include "record/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace heft::record {
namespace {

constexpr std::size_t max_threads = 8;
constexpr std::size_t steps_per_thread = 8;  // starting a thread costs more than fewer steps

class Steps {
 public:
  Steps(std::size_t count, const std::function<void(std::size_t)>& step) : count_(count), step_(step) {}

  void work() noexcept {
    // Continues after a failure, so that the failure with the smallest number is reported, whichever thread is faster.
    for (std::size_t number = next_++; number < count_; number = next_++) {
      try {
        step_(number);
      } catch (...) {
        remember(number, std::current_exception());
      }
    }
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void remember(std::size_t number, std::exception_ptr error) noexcept {
    const std::scoped_lock lock(mutex_);
    // Keeps the failure that one thread would have met first.
    if (error_ && number > failed_) return;
    failed_ = number;
    error_ = std::move(error);
  }

  const std::size_t count_;
  const std::function<void(std::size_t)>& step_;
  std::atomic<std::size_t> next_ = 0;
  std::mutex mutex_;
  std::size_t failed_ = 0;
  std::exception_ptr error_;
};

}  // namespace

void in_parallel(std::size_t count, const std::function<void(std::size_t)>& step) {
  Steps steps(count, step);
  {
    // Joined at the end of the block, before `steps` is examined.
    std::vector<std::jthread> helpers;
    const std::size_t threads =
        std::min({max_threads, count / steps_per_thread, std::size_t{std::thread::hardware_concurrency()}});
    try {
      // The calling thread is one of them; for fewer than 16 steps it is the only one.
      while (helpers.size() + 1 < threads) helpers.emplace_back([&steps] { steps.work(); });
    } catch (const std::system_error&) {
      // No more threads can be started: the existing ones do the work.
    }
    steps.work();
  }
  steps.rethrow();
}

}  // namespace heft::record
