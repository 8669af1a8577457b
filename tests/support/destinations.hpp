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
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "heft/destination.hpp"
#include "heft/error.hpp"

namespace heft::test {

/// Counts the calls to a destination and its allocations, and checks their order and their thread. Each hook that is
/// set runs first and can throw.
class WatchedDestination : public Destination {
 public:
  std::function<void()> on_allocate = [] {};
  std::function<void()> on_write = [] {};
  std::function<void()> on_finish = [] {};
  mutable std::atomic<int> sized = 0;  ///< Calls of bytes_for().
  mutable std::atomic<int> allocated = 0;
  mutable std::atomic<int> written = 0;
  mutable std::atomic<int> finished = 0;
  mutable std::atomic<int> given_up = 0;  ///< Allocations that were destroyed without finish().
  mutable std::atomic<std::uint64_t> allocated_bytes = 0;

  [[nodiscard]] Requirements requirements() const noexcept override { return required; }
  [[nodiscard]] std::uint64_t bytes_for(std::span<const TensorSpec> tensors) const override {
    ++sized;
    return total_bytes(tensors);
  }

  /// The calls that were made, each word once in a row: "staging allocate write finish".
  [[nodiscard]] std::string calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  /// Returns broken rules of the order of calls, empty when there is none.
  [[nodiscard]] std::string broken_rules() const {
    const std::lock_guard lock(mutex_);
    return broken_;
  }

  Requirements required;  ///< Set before the first load.
  /// The owner of the memory, which finish() returns.
  const std::shared_ptr<const void> owner = std::make_shared<int>(0);

 protected:
  // Destructors add to the calls: without an allocation, which could fail.
  explicit WatchedDestination(const Requirements& requirements) : required(requirements) { calls_.reserve(1000); }

  /// Places one after the other, each at its alignment: the offset of each, and the end.
  static std::vector<std::uint64_t> offsets(std::span<const TensorSpec> tensors) {
    std::vector<std::uint64_t> starts{0};
    std::uint64_t end = 0;
    for (const TensorSpec& tensor : tensors) {
      starts.back() = (end + tensor.alignment - 1) / tensor.alignment * tensor.alignment;
      end = starts.back() + tensor.size_bytes;
      starts.push_back(end);
    }
    return starts;
  }
  [[nodiscard]] virtual std::uint64_t total_bytes(std::span<const TensorSpec> tensors) const {
    return offsets(tensors).back();
  }

  void note(std::string_view call) const {
    const std::lock_guard lock(mutex_);
    if (!calls_.ends_with(call)) calls_ += (calls_.empty() ? "" : " ") + std::string(call);
  }
  void require(bool kept, std::string_view rule, std::string_view when = {}) const {
    if (kept) return;
    const std::lock_guard lock(mutex_);
    broken_ += std::string(rule) + " " + std::string(when) + "; ";
  }

  /// Counts what happens to one allocation.
  class Watch {
   public:
    Watch(const WatchedDestination& destination, std::span<const TensorSpec> tensors) : destination_(destination) {
      destination_.note("allocate");
      ++destination_.allocated;
      destination_.on_allocate();
      destination_.allocated_bytes += destination_.total_bytes(tensors);
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() {
      require_idle("destruction");
      destination_.note("destroy");
      if (!finished_) ++destination_.given_up;
    }
    void write_starts() {
      destination_.note("write");
      destination_.require(!finished_, "a write after finish()");
      ++destination_.written;
      destination_.on_write();
      ++in_progress_;
    }
    void write_ends() noexcept { --in_progress_; }
    void finish() {
      require_idle("finish()");
      destination_.note("finish");
      ++destination_.finished;
      finished_ = true;
      destination_.on_finish();
    }

   private:
    void require_idle(const char* when) const {
      destination_.require(in_progress_ == 0, "a write is in progress at", when);
      destination_.require(std::this_thread::get_id() == thread_, "another thread at", when);
    }
    const WatchedDestination& destination_;
    const std::thread::id thread_ = std::this_thread::get_id();
    std::atomic<int> in_progress_ = 0;
    bool finished_ = false;
  };

 private:
  mutable std::mutex mutex_;
  mutable std::string calls_;
  mutable std::string broken_;
};

/// A destination in host memory.
class HostDestination final : public WatchedDestination {
 public:
  HostDestination() : WatchedDestination({.kind = Kind::host_writable}) {}

  [[nodiscard]] std::unique_ptr<Allocation> allocate(std::span<const TensorSpec> tensors) const override {
    return std::make_unique<Block>(*this, tensors);
  }

 private:
  class Block final : public Allocation {
   public:
    Block(const HostDestination& destination, std::span<const TensorSpec> tensors)
        : watch_(destination, tensors), owner_(destination.owner) {
      std::uint64_t alignment = 1;
      for (const TensorSpec& tensor : tensors) alignment = std::max(alignment, tensor.alignment);
      const std::vector<std::uint64_t> starts = offsets(tensors);
      memory_ = std::make_shared<std::vector<std::byte>>(starts.back() + alignment);
      const auto address = reinterpret_cast<std::uintptr_t>(memory_->data());
      std::byte* const base = memory_->data() + (alignment - address % alignment) % alignment;
      for (std::size_t i = 0; i < tensors.size(); ++i)
        places_.push_back({.device_type = 3, .data = base, .byte_offset = starts[i]});
    }
    [[nodiscard]] std::span<const Placement> placements() const noexcept override { return places_; }
    [[nodiscard]] std::shared_ptr<const void> finish() override {
      watch_.finish();
      return std::make_shared<std::pair<std::shared_ptr<const void>, std::shared_ptr<const void>>>(owner_, memory_);
    }

   private:
    Watch watch_;
    std::shared_ptr<const void> owner_;
    std::shared_ptr<std::vector<std::byte>> memory_;
    std::vector<Placement> places_;
  };
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
  [[nodiscard, gnu::no_sanitize("thread", "address", "undefined")]] std::uint64_t sum(
      std::uint64_t offset, std::uint64_t size) const noexcept {
    const std::uint8_t* const first = counts_.data() + offset;
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < size; ++i) sum += first[i];
    return sum;
  }

 private:
  std::vector<std::uint8_t> counts_;
};

/// Memory that only writes reach, of one device or of several, which take tensors in turn. It copies a write when it
/// reports it, and can report it late, in another order, with a failure, or not at all.
class DeviceDestination final : public WatchedDestination {
 public:
  /// How a write ends.
  enum class Outcome {
    success,
    failure,  ///< Completion::fail() with std::runtime_error("failed").
    dropped,  ///< The completion is destroyed.
    thrown,   ///< write_async() throws std::runtime_error("thrown").
    lost,     ///< Completion::fail() with Error{io, "the device is lost"}.
    refused,  ///< write_async() throws Error{io, "the write is refused"}.
  };

  /// Reports at once; `retained` > 0: when as many more writes have come, or all.
  explicit DeviceDestination(std::size_t retained = 0, const Requirements& requirements = {.kind = Kind::device})
      : WatchedDestination(requirements), max_retained_(retained) {}

  /// The outcome of write number 0, 1, 2, ...
  std::function<Outcome(int)> outcome = [](int) { return Outcome::success; };
  bool reorders = false;  ///< Of the retained writes, the last is reported first.
  unsigned devices = 1;
  bool forgets = false;  ///< Nothing is copied or counted.

  [[nodiscard]] StagingMemory staging(std::uint64_t size_bytes) const override {
    note("staging");
    staged_bytes += size_bytes;
    const std::size_t slack = 1u << 16;
    auto memory = std::make_shared<std::vector<std::byte>>(size_bytes + slack);
    const auto address = reinterpret_cast<std::uintptr_t>(memory->data());
    const std::span<std::byte> bytes = std::span(*memory).subspan((slack - address % slack) % slack, size_bytes);
    return {bytes, std::shared_ptr<void>(memory.get(), [this, memory, thread = std::this_thread::get_id()](void*) {
              note("free");
              require(std::this_thread::get_id() == thread, "staging memory freed on another thread");
            })};
  }
  [[nodiscard]] std::unique_ptr<Allocation> allocate(std::span<const TensorSpec> tensors) const override {
    return std::make_unique<Writes>(*this, tensors);
  }

  /// Returns the bytes at `place`, if each was written exactly once.
  [[nodiscard]] std::span<const std::byte> bytes_written_once(const Placement& place, std::uint64_t size) const {
    const Memory& memory = *static_cast<const Memory*>(place.data);
    REQUIRE(place.byte_offset + size <= memory.bytes.size());
    REQUIRE(memory.counts.all_once(place.byte_offset, size));
    return std::span<const std::byte>(memory.bytes).subspan(place.byte_offset, size);
  }
  /// Returns how many bytes of tensors were written, repeats included.
  [[nodiscard]] std::uint64_t bytes_written() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& [place, size] : tensors_)
      sum += static_cast<const Memory*>(place.data)->counts.sum(place.byte_offset, size);
    return sum;
  }
  [[nodiscard]] std::uint64_t max_write_bytes() const noexcept { return max_write_bytes_; }
  [[nodiscard]] std::uint64_t max_rows() const noexcept { return max_rows_; }
  /// The sum of what staging() was asked for.
  mutable std::atomic<std::uint64_t> staged_bytes = 0;

  /// Returns the tensor of the load, and the byte of it, that the first write without success begins with; in a gap
  /// between tensors, the next one and its first byte.
  [[nodiscard]] std::pair<std::size_t, std::uint64_t> first_failed_byte() const {
    const std::lock_guard lock(mutex_);
    REQUIRE(failed_);
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const auto& [place, size] = tensors_[i];
      if (place.data == failed_->data && failed_->byte_offset < place.byte_offset + size)
        return {i, std::max(failed_->byte_offset, place.byte_offset) - place.byte_offset};
    }
    return {tensors_.size(), 0};
  }

  /// Reports all retained writes.
  void release() const {
    std::deque<Pending> pending;
    {
      const std::lock_guard lock(mutex_);
      pending.swap(pending_);
    }
    while (!pending.empty()) end(take_next(pending));
  }

 protected:
  [[nodiscard]] std::uint64_t total_bytes(std::span<const TensorSpec> tensors) const override {
    std::uint64_t sum = 0;
    for (unsigned device = 0; device < devices; ++device) sum += offsets(of_device(tensors, device)).back();
    return sum;
  }

 private:
  struct Memory {
    std::vector<std::byte> bytes;
    ByteCounts counts;
  };
  struct Pending {
    WriteRequest request;
    Completion completion;
    Watch* watch;
    Outcome outcome;
  };

  class Writes final : public Allocation {
   public:
    Writes(const DeviceDestination& destination, std::span<const TensorSpec> tensors)
        : destination_(destination), watch_(destination, tensors) {
      destination_.prepare(tensors, places_);
    }
    [[nodiscard]] std::span<const Placement> placements() const noexcept override { return places_; }
    void write_async(const WriteRequest& request, Completion completion) override {
      watch_.write_starts();
      destination_.start(request, std::move(completion), watch_);
    }
    [[nodiscard]] std::shared_ptr<const void> finish() override {
      watch_.finish();
      return destination_.owner;
    }

   private:
    const DeviceDestination& destination_;
    Watch watch_;
    std::vector<Placement> places_;
  };

  [[nodiscard]] std::vector<TensorSpec> of_device(std::span<const TensorSpec> tensors, unsigned device) const {
    std::vector<TensorSpec> chosen;
    for (std::size_t i = device; i < tensors.size(); i += devices) chosen.push_back(tensors[i]);
    return chosen;
  }

  void prepare(std::span<const TensorSpec> tensors, std::vector<Placement>& places) const {
    const std::lock_guard lock(mutex_);
    memories_.clear();
    tensors_.clear();
    places.resize(tensors.size());
    left_ = 0;
    for (unsigned device = 0; device < devices; ++device) {
      memories_.push_back(std::make_unique<Memory>());
      const std::vector<TensorSpec> own = of_device(tensors, device);
      const std::vector<std::uint64_t> starts = offsets(own);
      if (!forgets) memories_.back()->bytes.resize(starts.back());
      if (!forgets) memories_.back()->counts.reset(starts.back());
      for (std::size_t i = 0; i < own.size(); ++i) {
        places[device + i * devices] = {2, static_cast<std::int32_t>(device), memories_.back().get(), starts[i]};
        tensors_.emplace_back(places[device + i * devices], own[i].size_bytes);
        left_ += own[i].size_bytes;
      }
    }
  }

  void start(const WriteRequest& request, Completion completion, Watch& watch) const {
    std::deque<Pending> due;
    {
      const std::lock_guard lock(mutex_);
      const Outcome how = outcome(number_++);
      if (how != Outcome::success && !failed_) failed_ = request.to;
      if (how == Outcome::thrown || how == Outcome::refused) {
        watch.write_ends();
        if (how == Outcome::refused) throw Error(ErrorCode::io, "the write is refused");
        throw std::runtime_error("thrown");
      }
      max_write_bytes_ = std::max<std::uint64_t>(max_write_bytes_, request.staged.size());
      max_rows_ = std::max(max_rows_, request.rows);
      pending_.push_back({request, std::move(completion), &watch, how});
      left_ -= std::min(left_, tensor_bytes(request));
      while (pending_.size() > (left_ == 0 ? 0 : max_retained_)) due.push_back(take_next(pending_));
    }
    while (!due.empty()) {
      end(std::move(due.front()));
      due.pop_front();
    }
  }

  [[nodiscard]] Pending take_next(std::deque<Pending>& pending) const {
    Pending next = std::move(reorders ? pending.back() : pending.front());
    reorders ? pending.pop_back() : pending.pop_front();
    return next;
  }

  // Of the bytes of a request, those that belong to tensors.
  [[nodiscard]] std::uint64_t tensor_bytes(const WriteRequest& request) const {
    if (request.rows > 1) return request.staged.size();
    std::uint64_t sum = 0;
    const std::uint64_t begin = request.to.byte_offset;
    const std::uint64_t end = begin + request.staged.size();
    for (const auto& [place, size] : tensors_) {
      if (place.data != request.to.data) continue;
      const std::uint64_t from = std::max(begin, place.byte_offset);
      const std::uint64_t to = std::min(end, place.byte_offset + size);
      if (from < to) sum += to - from;
    }
    return sum;
  }

  void end(Pending pending) const {
    pending.watch->write_ends();
    switch (pending.outcome) {
      case Outcome::failure: return pending.completion.fail(std::make_exception_ptr(std::runtime_error("failed")));
      case Outcome::lost:
        return pending.completion.fail(std::make_exception_ptr(Error(ErrorCode::io, "the device is lost")));
      case Outcome::dropped: return;
      default: break;
    }
    if (!forgets && !copy(pending.request))
      return pending.completion.fail(std::make_exception_ptr(std::logic_error("a write outside the allocation")));
    pending.completion.succeed();
  }

  [[nodiscard]] bool copy(const WriteRequest& request) const {
    const std::lock_guard lock(mutex_);
    Memory& memory = *static_cast<Memory*>(request.to.data);
    const std::uint64_t row = request.staged.size() / request.rows;
    if (row * request.rows != request.staged.size()) return false;
    for (std::uint64_t i = 0; i < request.rows; ++i) {
      const std::uint64_t to = request.to.byte_offset + i * request.pitch_bytes;
      if (to + row > memory.bytes.size()) return false;
      std::memcpy(memory.bytes.data() + to, request.staged.data() + i * row, row);
      memory.counts.add(to, row);
    }
    return true;
  }

  const std::size_t max_retained_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Memory>> memories_;
  mutable std::vector<std::pair<Placement, std::uint64_t>> tensors_;
  mutable std::deque<Pending> pending_;
  mutable std::uint64_t left_ = 0;  // bytes of tensors that no write has brought
  mutable int number_ = 0;
  mutable std::optional<Placement> failed_;
  mutable std::uint64_t max_write_bytes_ = 0;
  mutable std::uint64_t max_rows_ = 0;
};

}  // namespace heft::test
