#include "materialize/memory/staging_pool.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "heft/error.hpp"
#include "mmap/pages.hpp"

namespace heft::engine {
namespace {

std::span<std::byte> checked(std::span<std::byte> memory, std::uint64_t size_bytes) {
  // The memory comes from the destination, which may be the caller's code.
  if (memory.size() < size_bytes)
    throw Error(ErrorCode::out_of_memory,
                fmt::format("expected {} bytes of staging memory, the destination gave {}", size_bytes, memory.size()));
  if (reinterpret_cast<std::uintptr_t>(memory.data()) % mmap::page_size() != 0)
    throw Error(ErrorCode::misaligned, "expected staging memory that starts on a page, the destination's does not");
  return memory.first(size_bytes);
}

}  // namespace

StagingPool::StagingPool(StagingMemory memory, std::uint64_t buffer_bytes, std::size_t count)
    : buffer_bytes_(buffer_bytes),
      count_(count),
      owner_(std::move(memory.owner)),
      bytes_(checked(memory.bytes, buffer_bytes * count)),
      min_free_(count) {
  free_.reserve(count);
  // The one used last is taken first: its memory has been touched.
  for (std::size_t buffer = count; buffer-- > 0;) free_.push_back(bytes_.data() + buffer * buffer_bytes);
}

StagingBuffer StagingPool::take() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return closed_ || !free_.empty(); });
  // Closed comes first: buffers that return after a failure are not filled again.
  if (closed_) throw Error(ErrorCode::cancelled, "stopped while waiting for the destination to take bytes");
  return lend(std::move(lock));
}

StagingBuffer StagingPool::try_take() {
  std::unique_lock lock(mutex_);
  return closed_ || free_.empty() ? nullptr : lend(std::move(lock));
}

StagingBuffer StagingPool::lend(std::unique_lock<std::mutex> lock) {
  std::byte* const buffer = free_.back();
  free_.pop_back();
  min_free_ = std::min(min_free_, free_.size());
  // Before the shared_ptr is made: if there is no memory for it, it calls the deleter, which takes the lock.
  lock.unlock();
  return {buffer, [this](std::byte* mine) noexcept { give_back(mine); }};
}

// Within the capacity that the list had at first.
void StagingPool::give_back(std::byte* buffer) noexcept {
  const std::lock_guard lock(mutex_);
  free_.push_back(buffer);
  changed_.notify_all();
}

void StagingPool::close() noexcept {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

void StagingPool::await_all() noexcept {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return free_.size() == count_; });
}

std::uint64_t StagingPool::peak_bytes() const noexcept {
  const std::lock_guard lock(mutex_);
  return (count_ - min_free_) * buffer_bytes_;
}

}  // namespace heft::engine
