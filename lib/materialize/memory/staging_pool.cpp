#include "materialize/memory/staging_pool.hpp"

#include <algorithm>
#include <utility>

#include "heft/error.hpp"

namespace heft::engine {

StagingPool::StagingPool(std::uint64_t buffer_bytes, std::size_t count)
    : buffer_bytes_(buffer_bytes),
      memory_(Arena::allocate(buffer_bytes * count, Arena::huge_page)),
      min_free_(count),
      count_(count) {
  // The one used last is taken first: its memory has been touched.
  for (std::size_t buffer = count; buffer-- > 0;) free_.push_back(memory_->span().data() + buffer * buffer_bytes);
}

std::shared_ptr<StagingPool> StagingPool::make(std::uint64_t buffer_bytes, std::size_t count) {
  return std::shared_ptr<StagingPool>(new StagingPool(buffer_bytes, count));
}

StagingBuffer StagingPool::take() {
  std::byte* buffer = nullptr;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || !free_.empty(); });
    if (closed_) throw Error(ErrorCode::cancelled, "stopped while waiting for the destination to take bytes");
    buffer = free_.back();
    free_.pop_back();
    min_free_ = std::min(min_free_, free_.size());
  }
  return {buffer, [pool = shared_from_this()](std::byte* mine) noexcept { pool->give_back(mine); }};
}

// Within the capacity that the list had at first.
void StagingPool::give_back(std::byte* buffer) noexcept {
  const std::lock_guard lock(mutex_);
  free_.push_back(buffer);
  changed_.notify_one();
}

void StagingPool::close() noexcept {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

std::uint64_t StagingPool::peak_bytes() const noexcept {
  const std::lock_guard lock(mutex_);
  return (count_ - min_free_) * buffer_bytes_;
}

}  // namespace heft::engine
