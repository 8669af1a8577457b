#include "materialize/workers.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <thread>
#include <utility>

#include "heft/error.hpp"

namespace heft::engine {
namespace {

// A pool, or none when the system refuses the threads.
std::unique_ptr<boost::asio::thread_pool> open_pool(unsigned threads) noexcept {
  try {
    return std::make_unique<boost::asio::thread_pool>(threads);
  } catch (const std::exception&) {
    return nullptr;
  }
}

}  // namespace

unsigned usable_threads(unsigned most) noexcept { return std::clamp(std::thread::hardware_concurrency(), 1u, most); }

unsigned run_workers(unsigned count, const std::function<void(unsigned worker)>& work) {
  const std::unique_ptr<boost::asio::thread_pool> pool = count > 1 ? open_pool(count - 1) : nullptr;
  if (!pool) {
    work(0);
    return 1;
  }
  for (unsigned worker = 1; worker < count; ++worker) boost::asio::post(*pool, [&work, worker] { work(worker); });
  work(0);
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
