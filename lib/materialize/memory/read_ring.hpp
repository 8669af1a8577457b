// materialize/memory/read_ring.hpp: a worker's ring of memory for reads, which are released in the order in which they
// were started.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "materialize/memory/arena.hpp"

namespace heft::engine {

/// Pieces of an arena, taken one behind the other and released in the same order. Used by one thread.
class ReadRing {
 public:
  explicit ReadRing(std::shared_ptr<Arena> arena) noexcept : arena_(std::move(arena)) {}

  struct Piece {
    std::byte* memory = nullptr;
    std::uint64_t end = 0;  ///< For release(). Never 0.
  };

  /// Returns `size` bytes behind the newest piece, or from the start when the end is too near; nothing while older
  /// pieces are in the way. Requires 0 < `size` <= size_bytes().
  [[nodiscard]] std::optional<Piece> take(std::uint64_t size) noexcept {
    // An empty ring starts at its beginning: short reads then use the same few pages, which stay in the cache.
    if (head_ == tail_) head_ = tail_ = 0;
    const std::uint64_t at = head_ % size_bytes();
    // A piece is one run of memory: the rest of the ring that is too short for it is skipped, and is released with it.
    const std::uint64_t begin = at + size > size_bytes() ? head_ + size_bytes() - at : head_;
    if (begin + size - tail_ > size_bytes()) return std::nullopt;
    head_ = begin + size;
    return Piece{memory().data() + begin % size_bytes(), head_};
  }
  /// Releases the oldest piece, by its `end`.
  void release(std::uint64_t end) noexcept { tail_ = end; }

  [[nodiscard]] std::span<std::byte> memory() const noexcept { return arena_->span(); }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return memory().size(); }
  /// Returns the bytes of the pieces in use, with those that were skipped at the end of the memory.
  [[nodiscard]] std::uint64_t used_bytes() const noexcept { return head_ - tail_; }

 private:
  std::shared_ptr<Arena> arena_;
  // Bytes count on and on: byte n lies at n % size_bytes(). Those between tail and head are in use.
  std::uint64_t head_ = 0;
  std::uint64_t tail_ = 0;
};

}  // namespace heft::engine
