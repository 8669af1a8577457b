#include "materialize/budget.hpp"

#include <algorithm>
#include <bit>
#include <optional>

#include <fmt/format.h>

#include "heft/error.hpp"
#include "materialize/memory/arena.hpp"
#include "materialize/memory/memory_left.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/io/page_cache_cleanup.hpp"
#include "materialize/thread_pool.hpp"
#include "mmap/descriptor_pool.hpp"

namespace heft::engine {
namespace {

// More threads than this add nothing where memory is the limit, and take cores from others.
constexpr unsigned most_threads = 16;
// A thread costs some 50 microseconds to start and to end: what is copied in that time is not worth one.
constexpr std::uint64_t bytes_worth_a_thread = 4u << 20;
// A thread may have a ring, a lease and some files open at once. The rest of the process has as many again.
constexpr std::uint64_t descriptors_a_thread = 16;
// Of each thread: its stack, small change.
constexpr std::uint64_t thread_overhead = 512u << 10;
// Windows of all threads together, as far as each holds a chunk: giving one up interrupts every processor that the
// process runs on, so they are to be few.
constexpr std::uint64_t all_windows = 16u << 20;
constexpr std::uint64_t smallest_window = 4u << 20;
constexpr std::uint64_t largest_window = Grain{}.batch;  // no window reaches past its batch
constexpr std::uint64_t smallest_far_ring = 1u << 20;
constexpr std::uint64_t page = 4096;
// Tensors of this size are given up to a page, so that direct reads need no copy.
constexpr std::uint64_t worth_a_phase = 1u << 20;

// Sizes add up to what a machine cannot have before they add up to what 64 bits cannot hold.
constexpr std::uint64_t most_memory = std::uint64_t{1} << 62;

std::uint64_t aligned(std::uint64_t value, std::uint64_t alignment) noexcept {
  return (value + alignment - 1) / alignment * alignment;
}

// Where an entry wants to begin, modulo `block`, so that the device can write its bytes where they belong: where they
// begin in their file.
std::optional<std::uint64_t> wanted_phase(const Layout& layout, const Transfer& transfer, std::uint64_t alignment) {
  if (!transfer.plain || transfer.to != 0 || transfer.from % alignment != 0 ||
      layout.sources[transfer.source]->file() == nullptr)
    return std::nullopt;
  return transfer.from % page;
}

void place_entries(const LoadPlan& plan, const Layout& layout, std::uint64_t alignment, Budget& budget) {
  const PlanEntries& entries = PlanAccess::entries(plan);
  budget.offsets.reserve(entries.size());
  auto transfer = layout.transfers.begin();  // they lie in the order of their entries
  for (std::uint32_t number = 0; number < entries.size(); ++number) {
    const PlanEntry& entry = entries[number];
    while (transfer != layout.transfers.end() && transfer->entry < number) ++transfer;
    if (!entry.has_buffer && entry.size_bytes >= worth_a_phase && transfer != layout.transfers.end())
      if (const auto phase = wanted_phase(layout, *transfer, alignment))
        budget.arena_bytes += (*phase + page - budget.arena_bytes % page) % page;
    budget.offsets.push_back(budget.arena_bytes);
    if (!entry.has_buffer) budget.arena_bytes = aligned(budget.arena_bytes + entry.size_bytes, alignment);
    if (entry.size_bytes > most_memory || budget.arena_bytes > most_memory)
      throw Error(ErrorCode::out_of_memory,
                  fmt::format("expected a plan that fits memory, it comes to more than {} bytes", most_memory),
                  {.path = {}, .tensor = entry.name});
  }
}

unsigned threads_for(const Layout& layout, const MaterializeOptions& options) {
  const std::uint64_t bytes = std::max(layout.bytes_read, layout.bytes_written);
  const std::uint64_t worth =
      std::clamp<std::uint64_t>(bytes / bytes_worth_a_thread, 1, std::max<std::size_t>(layout.batches.size(), 1));
  const unsigned asked = options.threads == 0 ? usable_threads(most_threads) : options.threads;
  const std::uint64_t open = std::max<std::uint64_t>(mmap::descriptor_limit() / descriptors_a_thread, 1);
  return static_cast<unsigned>(std::min({std::uint64_t{asked}, worth, open}));
}

std::uint64_t table_bytes(const LoadPlan& plan, const Layout& layout) {
  const std::uint64_t cut = layout.axes.capacity() * sizeof(Axis) + layout.transfers.capacity() * sizeof(Transfer) +
                            layout.parts.capacity() * sizeof(Part) + layout.chunks.capacity() * sizeof(Chunk) +
                            layout.batches.capacity() * sizeof(Batch);
  const std::uint64_t names = PlanAccess::names(plan).size_bytes() +
                              plan.count() * (sizeof(Tensor) + sizeof(std::uint64_t) + sizeof(std::byte*));
  return cut + names;
}

// Each worker has a reader of what is inflated or gathered, and one more may be parked. What is read back and forth is
// inflated whole, by each worker one, and the last one stays a while.
std::uint64_t reader_bytes(const Layout& layout, unsigned threads) {
  std::uint64_t largest = 0;
  for (const auto& source : layout.sources) largest = std::max(largest, source->reader_bytes());
  for (const Batch& batch : layout.batches)
    if (batch.steps_back)
      largest = std::max(largest, layout.sources[layout.chunks[batch.first].source]->whole_bytes());
  return largest * (threads + 1);
}

// A registered buffer of io_uring holds no more.
constexpr std::uint64_t largest_ring = 1u << 30;

void size_rings(const Layout& layout, const MaterializeOptions& options, Budget& budget) {
  budget.staging_bytes = std::max<std::uint64_t>(layout.largest_staged, Grain{}.staged);
  // On small pages, what is in flight takes the device more pieces.
  const std::uint64_t least = aligned(layout.largest_staged + 2 * largest_direct_alignment, Arena::huge_page);
  const std::uint64_t share = options.ring_bytes / budget.threads / Arena::huge_page * Arena::huge_page;
  budget.ring_bytes = std::clamp(share, least, std::max(least, largest_ring));
}

void size_slots(const Layout& layout, const MaterializeOptions& options, Budget& budget) {
  budget.far_ring_bytes =
      aligned(std::max(layout.largest_staged + 2 * largest_direct_alignment, smallest_far_ring), page);
  budget.slot_bytes = aligned(std::max(far_slice + 2 * largest_direct_alignment, layout.largest_filled), page);
  const std::uint64_t bound = std::min(options.ring_bytes, largest_ring / 2) * (far_slice / direct_slice);
  budget.slots = std::max<std::size_t>(bound / budget.slot_bytes, 2 * budget.threads);
  budget.slots_a_worker = budget.slots / budget.threads - 1;
}

// Whether a destination is far is known only once it was asked for memory: until then it may be either.
std::uint64_t ring_footprint(const MaterializeOptions& options, const Budget& budget) noexcept {
  const std::uint64_t near = budget.threads * Arena::footprint(budget.ring_bytes);
  const std::uint64_t far =
      budget.threads * Arena::footprint(budget.far_ring_bytes) + Arena::footprint(budget.slots * budget.slot_bytes);
  return options.destination ? std::max(near, far) : near;
}

}  // namespace

Layout cut_plan(const LoadPlan& plan) {
  const Layout& uncut = PlanAccess::transfers(plan);
  Layout layout;
  reserve_huge(layout.axes, uncut.axes.size());
  reserve_huge(layout.transfers, uncut.transfers.size());
  reserve_huge(layout.parts, uncut.transfers.size());
  layout = uncut;
  cut(layout, Grain{});
  return layout;
}

namespace {

Budget sized(const LoadPlan& plan, const Layout& layout, const MaterializeOptions& options) {
  if (!std::has_single_bit(options.alignment))
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected an alignment that is a power of two, found {}", options.alignment));
  Budget budget;
  place_entries(plan, layout, options.alignment, budget);
  budget.threads = threads_for(layout, options);
  size_rings(layout, options, budget);
  size_slots(layout, options, budget);
  budget.window_bytes = std::clamp(all_windows / budget.threads, smallest_window, largest_window);
  // A window also holds the rest of the huge pages that it begins and ends in.
  const std::uint64_t window_footprint = budget.window_bytes + 2 * Arena::huge_page;
  const std::uint64_t a_thread = Arena::footprint(budget.staging_bytes) + window_footprint + thread_overhead;
  budget.peak_bytes = Arena::footprint(budget.arena_bytes) + budget.threads * a_thread +
                      ring_footprint(options, budget) + table_bytes(plan, layout) +
                      reader_bytes(layout, budget.threads);
  if (options.drop_page_cache) budget.peak_bytes += Trail::table_bytes(layout);
  budget.taken_bytes = budget.peak_bytes - budget.threads * window_footprint;
  if (options.destination) budget.taken_bytes -= Arena::footprint(budget.arena_bytes);
  return budget;
}

}  // namespace

Budget budget_for(const LoadPlan& plan, const Layout& layout, const MaterializeOptions& options) {
  return sized(plan, layout, options);
}

ErrorPlace place_of(const LoadPlan& plan) {
  const Layout& layout = PlanAccess::transfers(plan);
  ErrorPlace place;
  if (!layout.transfers.empty()) place.path = layout.sources[layout.transfers.front().source]->path();
  if (plan.count() == 1) place.tensor = plan.name(0);
  return place;
}

Budget affordable_budget(const LoadPlan& plan, const Layout& layout, const MaterializeOptions& options) {
  Budget budget = sized(plan, layout, options);
  if (!options.check_memory || budget.taken_bytes < worth_asking) return budget;
  const mmap::MemoryAvailable left = mmap::memory_available();
  MaterializeOptions modest = options;
  // Rings first, which only hold what is under way; then threads, each of which has a buffer of its own.
  while (budget.taken_bytes > left.bytes && modest.ring_bytes > 0) {
    modest.ring_bytes = modest.ring_bytes < Arena::huge_page ? 0 : modest.ring_bytes / 2;
    if (modest.ring_bytes == 0) modest.threads = 1;
    budget = sized(plan, layout, modest);
  }
  require_memory(budget.taken_bytes, left, place_of(plan));
  return budget;
}

}  // namespace heft::engine
