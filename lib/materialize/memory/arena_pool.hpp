// materialize/memory/arena_pool.hpp: arenas that are used again: memory that has been touched once is three times as
// fast to fill.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "heft/destination.hpp"
#include "materialize/memory/arena.hpp"

namespace heft::engine {

/// Arenas that were let go, kept for the next load as long as the pool lives. All members may be called from any
/// thread.
class ArenaPool : public std::enable_shared_from_this<ArenaPool> {
 public:
  /// Keeps at most `max_free` unused arenas, of at most `max_bytes` together.
  ArenaPool(std::size_t max_free, std::uint64_t max_bytes);
  /// Memory of at least `size_bytes`: one that was let go, when one is large enough and not much too large; else a
  /// fresh one, and one that was let go is freed for it. It comes back when its last owner goes.
  std::shared_ptr<Arena> take(std::uint64_t size_bytes, std::uint64_t alignment);
  /// Frees the unused arenas.
  void clear() noexcept;

 private:
  void give_back(std::shared_ptr<Arena> arena) noexcept;

  const std::size_t max_free_;
  const std::uint64_t max_bytes_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Arena>> free_;
};

/// Places tensors in memory of a pool.
class PooledDestination final : public Destination {
 public:
  explicit PooledDestination(std::shared_ptr<ArenaPool> pool) noexcept : pool_(std::move(pool)) {}
  std::span<std::byte> allocate(std::uint64_t size_bytes, std::uint64_t alignment) override;
  std::shared_ptr<const void> finish() override { return std::move(arena_); }
  void abandon() noexcept override { arena_.reset(); }

 private:
  std::shared_ptr<ArenaPool> pool_;
  std::shared_ptr<Arena> arena_;
};

}  // namespace heft::engine
