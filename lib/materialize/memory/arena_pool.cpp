#include "materialize/memory/arena_pool.hpp"

#include <algorithm>
#include <utility>

namespace heft::engine {
namespace {

bool fits(const Arena& arena, std::uint64_t size_bytes, std::uint64_t alignment) {
  const std::span<std::byte> memory = arena.span();
  return memory.size() >= size_bytes && memory.size() / 2 <= size_bytes &&
         reinterpret_cast<std::uintptr_t>(memory.data()) % alignment == 0;
}

}  // namespace

ArenaPool::ArenaPool(std::size_t max_free, std::uint64_t max_bytes) : max_free_(max_free), max_bytes_(max_bytes) {
  free_.reserve(max_free);
}

std::shared_ptr<Arena> ArenaPool::take(std::uint64_t size_bytes, std::uint64_t alignment) {
  std::shared_ptr<Arena> arena;
  {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::find_if(free_.begin(), free_.end(), [&](const auto& each) { return fits(*each, size_bytes, alignment); });
    if (found != free_.end()) arena = std::move(*found);
    if (found != free_.end())
      free_.erase(found);
    else if (!free_.empty())
      free_.erase(free_.begin());
  }
  if (!arena) arena = Arena::allocate(size_bytes, alignment);
  Arena* const memory = arena.get();
  return {memory, [arena = std::move(arena), pool = weak_from_this()](Arena*) mutable noexcept {
            if (const auto alive = pool.lock()) alive->give_back(std::move(arena));
          }};
}

void ArenaPool::clear() noexcept {
  const std::lock_guard lock(mutex_);
  free_.clear();
}

// Within the capacity that the list has.
void ArenaPool::give_back(std::shared_ptr<Arena> arena) noexcept {
  const std::lock_guard lock(mutex_);
  std::uint64_t bytes = arena->span().size();
  for (const auto& each : free_) bytes += each->span().size();
  if (free_.size() < max_free_ && bytes <= max_bytes_) free_.push_back(std::move(arena));
}

std::span<std::byte> PooledDestination::allocate(std::uint64_t size_bytes, std::uint64_t alignment) {
  arena_ = pool_->take(size_bytes, alignment);
  return arena_->span().first(size_bytes);
}

}  // namespace heft::engine
