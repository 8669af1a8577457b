// materialize/memory/staging_pool.hpp: a bounded number of equal buffers on loan, each free again when its last user
// lets go.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "materialize/memory/arena.hpp"

namespace heft::engine {

/// One buffer of a pool while it is on loan.
using StagingBuffer = std::shared_ptr<std::byte>;

/// Staging memory for bytes that a destination takes at a time of its own. All members may be called from any thread,
/// and buffers may be let go after all else of a load is gone: each keeps the memory.
class StagingPool : public std::enable_shared_from_this<StagingPool> {
 public:
  /// `count` > 0 buffers of `buffer_bytes`, which is a multiple of 4096. Throws Error{out_of_memory}.
  static std::shared_ptr<StagingPool> make(std::uint64_t buffer_bytes, std::size_t count);

  /// Returns a buffer; waits while all are on loan. Throws Error{cancelled} once the pool is closed.
  [[nodiscard]] StagingBuffer take();
  /// Ends the waiting, and lends nothing any more: the load has failed, or was stopped.
  void close() noexcept;

  [[nodiscard]] std::uint64_t buffer_bytes() const noexcept { return buffer_bytes_; }
  /// All buffers, one after the other: for registering them with the kernel.
  [[nodiscard]] std::span<std::byte> memory() const noexcept { return memory_->span(); }
  /// Bytes of the buffers that were on loan at once, at most.
  [[nodiscard]] std::uint64_t peak_bytes() const noexcept;

 private:
  StagingPool(std::uint64_t buffer_bytes, std::size_t count);
  void give_back(std::byte* buffer) noexcept;

  const std::uint64_t buffer_bytes_;
  const std::shared_ptr<Arena> memory_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::byte*> free_;
  std::size_t min_free_;
  const std::size_t count_;
  bool closed_ = false;
};

}  // namespace heft::engine
