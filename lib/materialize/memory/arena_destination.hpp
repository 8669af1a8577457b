// materialize/memory/arena_destination.hpp: the destination of loads that name none: tensors side by side in one arena.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "heft/destination.hpp"
#include "materialize/memory/arena.hpp"
#include "materialize/memory/memory_count.hpp"

namespace heft::engine {

/// Allocates an arena for each load. Large tensors start at their offset in a page of the file, where they have one.
class ArenaDestination final : public Destination {
 public:
  /// Adds the footprint of each arena to `*count`, which outlives this; null: nowhere.
  explicit ArenaDestination(MemoryCount* count = nullptr) noexcept : count_(count) {}

  [[nodiscard]] Requirements requirements() const noexcept override { return {.alignment = 1}; }
  [[nodiscard]] std::uint64_t bytes_for(std::span<const TensorSpec> tensors) const override;
  [[nodiscard]] std::unique_ptr<Allocation> allocate(std::span<const TensorSpec> tensors) const override;

 private:
  MemoryCount* count_;
};

/// The offset of a tensor that follows the first `end` bytes of an arena.
[[nodiscard]] std::uint64_t place_after(std::uint64_t end, const TensorSpec& tensor) noexcept;

/// Memory that an arena for these tensors takes from the system, of which `size_bytes` is bytes_for().
[[nodiscard]] std::uint64_t arena_footprint(std::span<const TensorSpec> tensors, std::uint64_t size_bytes) noexcept;

}  // namespace heft::engine
