// Destinations that watch what the engine does with them.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "heft/destination.hpp"

namespace heft::test {

/// Counts the calls that a destination gets. Each hook, where there is one, runs first and may throw.
class WatchedDestination : public Destination {
 public:
  std::function<void()> on_allocate = [] {};
  std::function<void()> on_write = [] {};
  std::function<void()> on_finish = [] {};
  std::atomic<int> allocated = 0;
  std::atomic<int> written = 0;
  std::atomic<int> finished = 0;
  std::atomic<int> abandoned = 0;

  std::shared_ptr<const void> finish() override {
    ++finished;
    on_finish();
    return memory;
  }
  void abandon() noexcept override { ++abandoned; }

  std::shared_ptr<std::vector<std::byte>> memory = std::make_shared<std::vector<std::byte>>();

 protected:
  void count_allocation() {
    ++allocated;
    on_allocate();
  }
};

/// Memory of the host.
class NearDestination final : public WatchedDestination {
 public:
  std::span<std::byte> allocate(std::uint64_t size_bytes, std::uint64_t alignment) override {
    count_allocation();
    memory->resize(size_bytes + alignment);
    const auto address = reinterpret_cast<std::uintptr_t>(memory->data());
    return std::span(*memory).subspan((alignment - address % alignment) % alignment, size_bytes);
  }
};

/// Memory that only write() reaches. Every byte may come once. `held` copies of what came are kept until finish(), or
/// until as many more have come.
class FarDestination final : public WatchedDestination {
 public:
  explicit FarDestination(std::size_t hold = 0) : hold_(hold) {}

  std::span<std::byte> allocate(std::uint64_t size_bytes, std::uint64_t) override {
    count_allocation();
    memory->resize(size_bytes);
    times_.assign(size_bytes, 0);
    return {};
  }

  void write(std::uint64_t offset, Bytes staged) override {
    const std::lock_guard lock(mutex_);
    ++written;
    on_write();
    if (offset + staged.size_bytes() > memory->size()) throw std::logic_error("bytes beyond what was allocated");
    std::memcpy(memory->data() + offset, staged.data(), staged.size_bytes());
    for (std::uint64_t i = offset; i < offset + staged.size_bytes(); ++i) ++times_[i];
    largest_ = std::max(largest_, staged.size_bytes());
    held_.push_back(std::move(staged));
    while (held_.size() > hold_) held_.pop_front();
  }

  /// Bytes [offset, offset + size), if each came once.
  [[nodiscard]] std::span<const std::byte> once(std::uint64_t offset, std::uint64_t size) const {
    REQUIRE(offset + size <= times_.size());
    REQUIRE(std::all_of(times_.begin() + static_cast<std::ptrdiff_t>(offset),
                        times_.begin() + static_cast<std::ptrdiff_t>(offset + size), [](int n) { return n == 1; }));
    return std::span<const std::byte>(*memory).subspan(offset, size);
  }
  /// Bytes that came at all, however often.
  [[nodiscard]] std::uint64_t bytes_taken() const {
    std::uint64_t sum = 0;
    for (const std::uint8_t n : times_) sum += n;
    return sum;
  }
  [[nodiscard]] std::uint64_t largest_write() const noexcept { return largest_; }
  /// Lets go of what is held.
  void let_go() {
    const std::lock_guard lock(mutex_);
    held_.clear();
  }

 private:
  const std::size_t hold_;
  std::mutex mutex_;
  std::vector<std::uint8_t> times_;
  std::deque<Bytes> held_;
  std::uint64_t largest_ = 0;
};

}  // namespace heft::test
