#include "materialize/budget.hpp"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "heft/error.hpp"
#include "materialize/arena.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/workers.hpp"

namespace heft::engine {
namespace {

// More threads than this add nothing where memory is the limit, and take cores from others.
constexpr unsigned most_threads = 16;
// A thread costs some 50 microseconds to start and to end: what is copied in that time is not worth one.
constexpr std::uint64_t bytes_worth_a_thread = 4u << 20;
// Of each thread: its stack, a window of a mapping, small change.
constexpr std::uint64_t thread_overhead = 512u << 10;
constexpr std::uint64_t smallest_ring = 1u << 20;
constexpr std::uint64_t page = 4096;

// Sizes add up to what a machine cannot have before they add up to what 64 bits cannot hold.
constexpr std::uint64_t most_memory = std::uint64_t{1} << 62;

std::uint64_t aligned(std::uint64_t value, std::uint64_t alignment) noexcept { return (value + alignment - 1) / alignment * alignment; }

void place_entries(const LoadPlan& plan, std::uint64_t alignment, Budget& budget) {
  const std::vector<PlanEntry>& entries = PlanAccess::entries(plan);
  budget.offsets.reserve(entries.size());
  for (const PlanEntry& entry : entries) {
    budget.offsets.push_back(budget.arena_bytes);
    if (!entry.has_buffer) budget.arena_bytes = aligned(budget.arena_bytes + entry.size_bytes, alignment);
    if (entry.size_bytes > most_memory || budget.arena_bytes > most_memory)
      throw Error(ErrorCode::out_of_memory, fmt::format("expected a plan that fits memory, it comes to more than {} bytes", most_memory), {.path = {}, .tensor = entry.name});
  }
}

unsigned threads_for(const Layout& layout, const MaterializeOptions& options) {
  const std::uint64_t bytes = std::max(layout.bytes_read, layout.bytes_written);
  const std::uint64_t worth = std::clamp<std::uint64_t>(bytes / bytes_worth_a_thread, 1, std::max<std::size_t>(layout.batches.size(), 1));
  const unsigned asked = options.threads == 0 ? usable_threads(most_threads) : options.threads;
  return static_cast<unsigned>(std::min<std::uint64_t>(asked, worth));
}

std::uint64_t table_bytes(const LoadPlan& plan, const Layout& layout) {
  const std::uint64_t cut = layout.axes.capacity() * sizeof(Axis) + layout.transfers.capacity() * sizeof(Transfer) + layout.parts.capacity() * sizeof(Part) +
                            layout.chunks.capacity() * sizeof(Chunk) + layout.batches.capacity() * sizeof(Batch);
  const std::uint64_t names = PlanAccess::names(plan).size_bytes() + plan.count() * (sizeof(Tensor) + sizeof(std::uint64_t) + sizeof(std::byte*));
  return cut + names;
}

// Compressed records are inflated whole, by each worker one, and the last one stays a while.
std::uint64_t inflated_bytes(const Layout& layout, unsigned threads) {
  std::uint64_t largest = 0;
  for (const auto& source : layout.sources)
    if (source->file() == nullptr && source->mapped().empty()) largest = std::max(largest, source->size_bytes());
  return largest * (threads + 1);
}

}  // namespace

Layout cut_plan(const LoadPlan& plan) {
  Layout layout = PlanAccess::transfers(plan);
  cut(layout, Grain{});
  return layout;
}

Budget budget_for(const LoadPlan& plan, const Layout& layout, const MaterializeOptions& options) {
  if (!std::has_single_bit(options.alignment))
    throw Error(ErrorCode::out_of_range, fmt::format("expected an alignment that is a power of two, found {}", options.alignment));
  Budget budget;
  place_entries(plan, options.alignment, budget);
  budget.threads = threads_for(layout, options);
  budget.staging_bytes = std::max<std::uint64_t>(layout.largest_staged, Grain{}.staged);
  const std::uint64_t share = std::max(options.ring_bytes / budget.threads, smallest_ring);
  budget.ring_bytes = aligned(std::max(share, layout.largest_staged + 2 * largest_direct_alignment), page);
  const std::uint64_t a_thread = Arena::footprint(budget.staging_bytes) + Arena::footprint(budget.ring_bytes) + Grain{}.plain + thread_overhead;
  budget.peak_bytes = Arena::footprint(budget.arena_bytes) + budget.threads * a_thread + table_bytes(plan, layout) + inflated_bytes(layout, budget.threads);
  return budget;
}

}  // namespace heft::engine
