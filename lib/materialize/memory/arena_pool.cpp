#include "materialize/memory/arena_pool.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace heft::engine {
namespace {

bool fits(const Arena& arena, std::uint64_t size_bytes, std::uint64_t alignment) {
  const std::span<std::byte> memory = arena.span();
  // At most twice the size: the pool's bound counts whole arenas.
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
    // The newest first: its bytes may still be in a cache.
    const auto found = std::find_if(free_.rbegin(), free_.rend(),
                                    [&](const auto& each) { return fits(*each, size_bytes, alignment); });
    if (found != free_.rend()) {
      arena = std::move(*found);
      free_.erase(std::next(found).base());
    } else {
      // No free arena fits: the oldest make room, for the sum to stay within the bound.
      while (!free_.empty() && (free_.size() == max_free_ || held_ + size_bytes > max_bytes_)) free_oldest();
      held_ += size_bytes;
      peak_ = std::max(peak_, held_);
    }
  }
  try {
    // Counted under the lock, allocated outside it: mmap() of a large arena takes long.
    if (!arena) arena = Arena::allocate(size_bytes, alignment);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    held_ -= size_bytes;
    throw;
  }
  // The pointer's owner is a function that gives the arena back. It keeps the pool weakly: tensors may outlive the
  // stream, and free the arena themselves then.
  Arena* const memory = arena.get();
  return {memory, [arena = std::move(arena), pool = weak_from_this()](Arena*) mutable noexcept {
            if (const auto alive = pool.lock()) alive->give_back(std::move(arena));
          }};
}

void ArenaPool::free_oldest() noexcept {
  held_ -= free_.front()->span().size();
  free_.erase(free_.begin());
}

void ArenaPool::clear() noexcept {
  const std::lock_guard lock(mutex_);
  while (!free_.empty()) free_oldest();
}

// Within the capacity that the list has.
void ArenaPool::give_back(std::shared_ptr<Arena> arena) noexcept {
  const std::lock_guard lock(mutex_);
  // Cannot allocate: this runs in destructors.
  if (free_.size() < max_free_ && held_ <= max_bytes_)
    free_.push_back(std::move(arena));
  else
    held_ -= arena->span().size();
}

std::uint64_t ArenaPool::peak_bytes() const {
  const std::lock_guard lock(mutex_);
  return peak_;
}

}  // namespace heft::engine
