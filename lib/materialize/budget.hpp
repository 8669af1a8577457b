// materialize/budget.hpp: how much memory a load takes, and how many threads, known before it starts.
#pragma once

#include <cstdint>
#include <vector>

#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "materialize/transfer.hpp"

namespace heft::engine {

/// The plan's transfers, cut with the one Grain there is: so that what a plan says of itself does not depend on
/// options.
Layout cut_plan(const LoadPlan& plan);

/// Files that ask for coarser direct reads than this are read through the page cache. In bytes.
inline constexpr std::uint64_t largest_direct_alignment = 64u << 10;

/// Plain chunks are read directly in requests of this size, in bytes, that begin and end on multiples of it but for the
/// first and the last: as small as a device is still fast with, for many to be in flight in a ring that stays in the
/// cache. On the way to far memory, where each is handed over by itself, they are larger.
inline constexpr std::uint64_t direct_slice = 512u << 10;
inline constexpr std::uint64_t far_slice = 1u << 20;

/// Where a load's memory goes. In bytes.
struct Budget {
  unsigned threads = 1;
  /// Of each entry in the arena; of those with the caller's buffer: unused.
  std::vector<std::uint64_t> offsets;
  /// All that heft places.
  std::uint64_t arena_bytes = 0;
  /// Each worker's buffer for chunks that are read before they are converted or gathered.
  std::uint64_t staging_bytes = 0;
  /// Most that each worker enters of a mapping at once.
  std::uint64_t window_bytes = 0;
  /// Each worker's ring of direct reads; when there are slots, only what is converted or gathered goes through one.
  std::uint64_t ring_bytes = 0;
  std::uint64_t far_ring_bytes = 0;
  /// Of each slot for what is handed over to far memory, and how many there are for all workers together.
  std::uint64_t slot_bytes = 0;
  std::size_t slots = 0;
  /// Most slots that a worker's direct reads may hold, so that there is one left for each worker to land in.
  std::size_t slots_a_worker = 0;
  /// Everything together, all threads.
  std::uint64_t peak_bytes = 0;
  /// The same without what the system can take back while it is used, the windows, and without memory that the caller's
  /// destination gives.
  std::uint64_t taken_bytes = 0;
};

/// Throws Error{out_of_range} for options that make no sense, Error{out_of_memory} when the sum does not fit 63 bits.
Budget budget_for(const LoadPlan& plan, const Layout& layout, const MaterializeOptions& options);

/// For errors about a plan as a whole: the file of its first tensor, and the tensor where there is one only.
ErrorPlace place_of(const LoadPlan& plan);

/// The budget of a load that begins now: that of budget_for(), with less staging and fewer threads where the memory that is
/// left asks for it. Throws Error{out_of_memory} for what does not fit all the same, unless options.check_memory is off.
Budget affordable_budget(const LoadPlan& plan, const Layout& layout, const MaterializeOptions& options);

}  // namespace heft::engine
