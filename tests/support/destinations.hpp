// Destinations that record the calls of the engine.
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

/// Counts the calls to a destination. Each hook that is set runs first and can throw.
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

/// A destination in host memory.
class NearDestination final : public WatchedDestination {
 public:
  std::span<std::byte> allocate(std::uint64_t size_bytes, std::uint64_t alignment) override {
    count_allocation();
    memory->resize(size_bytes + alignment);
    const auto address = reinterpret_cast<std::uintptr_t>(memory->data());
    return std::span(*memory).subspan((alignment - address % alignment) % alignment, size_bytes);
  }
};

/// Counts the writes of each byte. The loops over bytes are compiled without sanitizers, which multiply their time; the
/// caller holds the lock.
class ByteCounts {
 public:
  void reset(std::size_t size) { counts_.assign(size, 0); }
  [[nodiscard]] std::size_t size() const noexcept { return counts_.size(); }

  [[gnu::no_sanitize("thread", "address", "undefined")]] void add(std::uint64_t offset, std::uint64_t size) noexcept {
    std::uint8_t* const first = counts_.data() + offset;
    for (std::uint64_t i = 0; i < size; ++i) ++first[i];
  }
  [[nodiscard, gnu::no_sanitize("thread", "address", "undefined")]] bool all_once(std::uint64_t offset,
                                                                                  std::uint64_t size) const noexcept {
    const std::uint8_t* const first = counts_.data() + offset;
    bool once = true;
    for (std::uint64_t i = 0; i < size; ++i) once &= first[i] == 1;
    return once;
  }
  [[nodiscard, gnu::no_sanitize("thread", "address", "undefined")]] std::uint64_t sum() const noexcept {
    const std::uint8_t* const first = counts_.data();
    const std::size_t size = counts_.size();
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < size; ++i) sum += first[i];
    return sum;
  }

 private:
  std::vector<std::uint8_t> counts_;
};

/// Memory that only write() reaches. Keeps the staged bytes of the last `retained` writes, as a device does that copies
/// them later.
class DeviceDestination final : public WatchedDestination {
 public:
  explicit DeviceDestination(std::size_t retained = 0) : max_retained_(retained) {}

  std::span<std::byte> allocate(std::uint64_t size_bytes, std::uint64_t) override {
    count_allocation();
    memory->resize(size_bytes);
    counts_.reset(size_bytes);
    return {};
  }

  void write(std::uint64_t offset, Bytes staged) override {
    const std::lock_guard lock(mutex_);
    ++written;
    on_write();
    if (offset + staged.size_bytes() > memory->size())
      throw std::logic_error("expected bytes inside the allocation, found bytes beyond it");
    std::memcpy(memory->data() + offset, staged.data(), staged.size_bytes());
    counts_.add(offset, staged.size_bytes());
    max_write_bytes_ = std::max(max_write_bytes_, staged.size_bytes());
    retained_.push_back(std::move(staged));
    while (retained_.size() > max_retained_) retained_.pop_front();
  }

  /// Returns bytes [offset, offset + size), if each was written exactly once.
  [[nodiscard]] std::span<const std::byte> bytes_written_once(std::uint64_t offset, std::uint64_t size) const {
    REQUIRE(offset + size <= counts_.size());
    REQUIRE(counts_.all_once(offset, size));
    return std::span<const std::byte>(*memory).subspan(offset, size);
  }
  /// Returns how many bytes were written, repeats included.
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return counts_.sum(); }
  [[nodiscard]] std::uint64_t max_write_bytes() const noexcept { return max_write_bytes_; }
  /// Releases the retained bytes.
  void release() {
    const std::lock_guard lock(mutex_);
    retained_.clear();
  }

 private:
  const std::size_t max_retained_;
  std::mutex mutex_;
  ByteCounts counts_;
  std::deque<Bytes> retained_;
  std::uint64_t max_write_bytes_ = 0;
};

}  // namespace heft::test
