// materialize/budget.hpp: how much memory a load takes, and how many threads, known before it starts.
#pragma once

#include <cstdint>
#include <vector>

#include "heft/materialize.hpp"
#include "materialize/transfer.hpp"

namespace heft::engine {

/// The plan's transfers, cut with the one Grain there is: so that what a plan says of itself does not depend on options.
Layout cut_plan(const LoadPlan& plan);

/// Files that ask for coarser direct reads than this are read through the page cache. In bytes.
inline constexpr std::uint64_t largest_direct_alignment = 64u << 10;

/// Where a load's memory goes. In bytes.
struct Budget {
  unsigned threads = 1;
  std::vector<std::uint64_t> offsets;  ///< Of each entry in the arena; of those with the caller's buffer: unused.
  std::uint64_t arena_bytes = 0;       ///< All that heft places.
  std::uint64_t staging_bytes = 0;     ///< Each worker's buffer for chunks that are read before they are converted or gathered.
  std::uint64_t ring_bytes = 0;        ///< Each worker's ring of direct reads.
  std::uint64_t peak_bytes = 0;        ///< Everything together, all threads.
};

/// Throws Error{out_of_range} for options that make no sense, Error{out_of_memory} when the sum does not fit 63 bits.
Budget budget_for(const LoadPlan& plan, const Layout& layout, const MaterializeOptions& options);

}  // namespace heft::engine
