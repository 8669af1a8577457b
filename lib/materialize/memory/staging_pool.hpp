// materialize/memory/staging_pool.hpp: a bounded number of equal buffers on loan, each free again when its last user
// releases it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "heft/destination.hpp"

namespace heft::engine {

/// One buffer of a pool while it is on loan.
using StagingBuffer = std::shared_ptr<std::byte>;

/// Staging memory for bytes that a destination copies asynchronously. All members may be called from any thread; a
/// buffer may be released on any. All buffers must be free when the pool is destroyed.
class StagingPool {
 public:
  /// `count` > 0 buffers of `buffer_bytes`, a multiple of the page size, in `memory`. Throws Error{out_of_memory} when
  /// it is too small for them, Error{misaligned} when it does not start on a page.
  StagingPool(StagingMemory memory, std::uint64_t buffer_bytes, std::size_t count);

  /// Returns a buffer; waits while all are on loan. Throws Error{cancelled} once the pool is closed.
  [[nodiscard]] StagingBuffer take();
  /// Returns a buffer, or null while all are on loan, or once the pool is closed.
  [[nodiscard]] StagingBuffer try_take();
  /// Ends the waiting, and lends nothing any more: the load has failed, or was stopped.
  void close() noexcept;
  /// Waits until no buffer is on loan: until all writes have been reported.
  void await_all() noexcept;

  [[nodiscard]] std::uint64_t buffer_bytes() const noexcept { return buffer_bytes_; }
  /// All buffers, one after the other: for registering them with the kernel.
  [[nodiscard]] std::span<std::byte> memory() const noexcept { return bytes_; }
  /// Bytes of the buffers that were on loan at once, at most.
  [[nodiscard]] std::uint64_t peak_bytes() const noexcept;

 private:
  StagingBuffer lend(std::unique_lock<std::mutex> lock);
  void give_back(std::byte* buffer) noexcept;

  const std::uint64_t buffer_bytes_;
  const std::size_t count_;
  const std::shared_ptr<void> owner_;
  const std::span<std::byte> bytes_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::byte*> free_;
  std::size_t min_free_;
  bool closed_ = false;
};

}  // namespace heft::engine
