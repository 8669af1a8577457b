// materialize/memory/arena_pool.hpp: arenas that are used again: memory that has been touched once is three times as
// fast to fill.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "materialize/memory/arena.hpp"

namespace heft::engine {

/// Arenas that were released, kept for the next use as long as the pool lives. All members may be called from any
/// thread.
class ArenaPool : public std::enable_shared_from_this<ArenaPool> {
 public:
  /// Keeps at most `max_free` unused arenas, and those only while all arenas, used and unused, have at most `max_bytes`
  /// together.
  ArenaPool(std::size_t max_free, std::uint64_t max_bytes);
  /// Memory of at least `size_bytes`: an unused arena, when one is large enough and not much too large; else a fresh
  /// one, and unused ones are freed for it. It comes back when its last owner releases it.
  std::shared_ptr<Arena> take(std::uint64_t size_bytes, std::uint64_t alignment);
  /// Frees the unused arenas.
  void clear() noexcept;
  /// The largest sum of all arenas, used and unused, so far.
  [[nodiscard]] std::uint64_t peak_bytes() const;

 private:
  void give_back(std::shared_ptr<Arena> arena) noexcept;
  void free_oldest() noexcept;

  const std::size_t max_free_;
  const std::uint64_t max_bytes_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Arena>> free_;  // oldest first
  std::uint64_t held_ = 0;                    // bytes of all arenas
  std::uint64_t peak_ = 0;
};

}  // namespace heft::engine
