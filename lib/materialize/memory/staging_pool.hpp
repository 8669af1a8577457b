// materialize/memory/staging_pool.hpp: a bounded number of equal buffers on loan, each free again when its last user lets go.
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

/// Staging memory for bytes that somebody else takes away, at a time of his own. All members may be called from any
/// thread, and slots may be let go after all else of a load is gone: each keeps the memory.
class Slots : public std::enable_shared_from_this<Slots> {
 public:
  /// One slot while it is on loan.
  using Slot = std::shared_ptr<std::byte>;

  /// `count` > 0 slots of `slot_bytes`, which is a multiple of 4096. Throws Error{out_of_memory}.
  static std::shared_ptr<Slots> make(std::uint64_t slot_bytes, std::size_t count);

  /// A slot; waits while all are out. Null once closed.
  [[nodiscard]] Slot take();
  /// No slot is given any more, and nobody waits: the load has failed, or was stopped.
  void close() noexcept;

  [[nodiscard]] std::uint64_t slot_bytes() const noexcept { return slot_bytes_; }
  /// All slots, one after the other: for registering them with the kernel.
  [[nodiscard]] std::span<std::byte> memory() const noexcept { return memory_->span(); }
  /// Most bytes of slots on loan at once.
  [[nodiscard]] std::uint64_t peak_bytes() const noexcept;

 private:
  Slots(std::uint64_t slot_bytes, std::size_t count);
  void give_back(std::byte* slot) noexcept;

  const std::uint64_t slot_bytes_;
  const std::shared_ptr<Arena> memory_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::byte*> free_;
  std::size_t fewest_free_;
  std::size_t count_;
  bool closed_ = false;
};

}  // namespace heft::engine
