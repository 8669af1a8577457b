// materialize/arena_layout.hpp: where the entries of a plan lie in the memory that a load allocates for them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "materialize/plan_entry.hpp"
#include "materialize/transfer.hpp"

namespace heft::engine {

/// Offsets of the entries of a plan in one run of memory. Immutable once made.
struct ArenaLayout {
  std::uint64_t alignment = 1;
  std::vector<std::uint64_t> offsets;  ///< Of each entry; of those with the caller's buffer: unused.
  std::uint64_t size_bytes = 0;        ///< Of all that heft allocates.

  /// For entries, and for the transfers into them. Each entry begins on a multiple of `alignment`. Throws
  /// Error{out_of_range} when that is no power of two, Error{out_of_memory} when the sum does not fit 62 bits.
  static ArenaLayout of(const PlanEntries& entries, const Transfers& all, std::uint64_t alignment);
};

/// Where an entry lies that follows the first `at` bytes of a run of memory, which begins on a page: on a multiple of
/// `alignment`, and such that a large entry can be read directly. `transfers` are the entry's, of `all`.
[[nodiscard]] std::uint64_t place_after(std::uint64_t at, const PlanEntry& entry, std::span<const Transfer> transfers,
                                        const Transfers& all, std::uint64_t alignment);

}  // namespace heft::engine
