#include "materialize/budget.hpp"

#include <algorithm>

#include "heft/error.hpp"
#include "materialize/io/page_cache_cleanup.hpp"
#include "materialize/memory/arena.hpp"
#include "materialize/memory/memory_left.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/thread_pool.hpp"
#include "mmap/descriptor_pool.hpp"

namespace heft::engine {
namespace {

// A thread costs some 50 microseconds to start and to end: what is copied in that time is not worth one.
constexpr std::uint64_t bytes_worth_a_thread = 4u << 20;
// A thread may have a ring, a lease and some files open at once. The rest of the process has as many again.
constexpr std::uint64_t descriptors_a_thread = 16;
// Of each thread that is started: its stack, its heap. Of a load on the caller's thread: requests, statistics.
constexpr std::uint64_t thread_overhead = 512u << 10;
constexpr std::uint64_t load_overhead = 64u << 10;
// Windows of all threads together, as far as each contains a chunk: giving one up interrupts every processor that the
// process runs on, so they are to be few.
constexpr std::uint64_t all_windows = 16u << 20;
constexpr std::uint64_t min_window = 4u << 20;
constexpr std::uint64_t max_window = ChunkSizes{}.batch;  // no window reaches past its batch
constexpr std::uint64_t min_device_ring = 1u << 20;
// A registered buffer of io_uring holds no more.
constexpr std::uint64_t max_ring = 1u << 30;
// Bytes that alignment adds to a direct read, before and after the bytes wanted.
constexpr std::uint64_t direct_margin = 2 * max_direct_alignment;
constexpr std::uint64_t page = 4096;

std::uint64_t aligned(std::uint64_t value, std::uint64_t alignment) noexcept {
  return (value + alignment - 1) / alignment * alignment;
}

unsigned threads_for(const Schedule& schedule, const MaterializeOptions& options) {
  const std::uint64_t bytes = std::max(schedule.sizes.read, schedule.sizes.written);
  const std::uint64_t worth =
      std::clamp<std::uint64_t>(bytes / bytes_worth_a_thread, 1, std::max<std::size_t>(schedule.batches.size(), 1));
  const unsigned asked = options.threads == 0 ? usable_threads(max_threads) : options.threads;
  const std::uint64_t open = std::max<std::uint64_t>(mmap::descriptor_limit() / descriptors_a_thread, 1);
  return static_cast<unsigned>(std::min({std::uint64_t{asked}, worth, open}));
}

std::uint64_t table_bytes(const LoadPlan& plan, const Schedule& schedule) {
  const Transfers& transfers = *schedule.transfers;
  const std::uint64_t compiled = transfers.axes.capacity() * sizeof(Axis) +
                                 transfers.transfers.capacity() * sizeof(Transfer) +
                                 schedule.parts.capacity() * sizeof(Part) + schedule.chunks.capacity() * sizeof(Chunk) +
                                 schedule.batches.capacity() * sizeof(Batch);
  const std::uint64_t names = PlanAccess::names(plan).size_bytes() +
                              plan.size() * (sizeof(Tensor) + sizeof(std::uint64_t) + sizeof(std::byte*));
  return compiled + names;
}

// Room for everything that the chunks span, as direct reads take it: a load needs no larger ring. In whole huge pages
// where it is large, so that loads of about the same size can use one ring after the other.
std::uint64_t spanned_bytes(const Schedule& schedule) noexcept {
  const std::uint64_t bytes = schedule.sizes.spanned + schedule.chunks.size() * direct_margin;
  return aligned(bytes, bytes < Arena::huge_page ? page : std::uint64_t{Arena::huge_page});
}

void size_rings(const Schedule& schedule, const MaterializeOptions& options, Budget& budget) {
  const ScheduleSizes& sizes = schedule.sizes;
  budget.buffer_bytes = std::max(sizes.max_converted, std::min(sizes.max_buffered, ChunkSizes{}.converted));
  // On small pages, what is in flight takes the device more pieces.
  const std::uint64_t least = aligned(sizes.max_converted + direct_margin, Arena::huge_page);
  const std::uint64_t share = options.staging_bytes / budget.threads / Arena::huge_page * Arena::huge_page;
  if (sizes.max_request != 0)
    budget.request_bytes =
        std::min(std::max(share, aligned(sizes.max_request, page)), aligned(sizes.request_spanned, page));
  const std::uint64_t wanted = std::clamp(share, least, std::max(least, max_ring));
  budget.ring_bytes = std::min(wanted, spanned_bytes(schedule));
}

void size_staging(const Schedule& schedule, const MaterializeOptions& options, Budget& budget) {
  const ScheduleSizes& sizes = schedule.sizes;
  budget.device_ring_bytes =
      std::min(aligned(std::max(sizes.max_converted + direct_margin, min_device_ring), page), spanned_bytes(schedule));
  const std::uint64_t slice = std::min(device_slice, sizes.max_chunk) + direct_margin;
  budget.staging_buffer_bytes = aligned(std::max(slice, sizes.max_filled), page);
  const std::uint64_t bound = std::min(options.staging_bytes, max_ring / 2) * (device_slice / direct_slice);
  const std::size_t least = 2 * std::size_t{budget.threads};
  // No more than all chunks fill, if each is begun in a buffer of its own.
  const std::size_t most = least + schedule.chunks.size() + sizes.written / budget.staging_buffer_bytes;
  budget.staging_buffers = std::clamp<std::size_t>(bound / budget.staging_buffer_bytes, least, most);
  budget.buffers_a_worker = budget.staging_buffers / budget.threads - 1;
}

// Rings are for files alone, and for paths that may be direct.
bool may_read_directly(const Schedule& schedule, const MaterializeOptions& options) noexcept {
  if (options.io_method != IoMethod::automatic && options.io_method != IoMethod::direct) return false;
  return schedule.sizes.has_files;
}

bool may_map(const Schedule& schedule, const MaterializeOptions& options) noexcept {
  if (options.io_method != IoMethod::automatic && options.io_method != IoMethod::map) return false;
  if (options.io_method == IoMethod::automatic && schedule.sizes.max_batch < min_mapped_batch) return false;
  return schedule.sizes.has_mapped;
}

// A destination is known to be a device only after allocate(): until then, the larger of both budgets applies.
std::uint64_t staging_footprint(const Schedule& schedule, const MaterializeOptions& options,
                                const Budget& budget) noexcept {
  const bool direct = may_read_directly(schedule, options);
  const std::uint64_t host = direct ? budget.threads * Arena::footprint(budget.ring_bytes) : 0;
  if (!options.destination) return host;
  const std::uint64_t rings = direct ? budget.threads * Arena::footprint(budget.device_ring_bytes) : 0;
  return std::max(host, rings + Arena::footprint(budget.staging_buffers * budget.staging_buffer_bytes));
}

Budget sized(const LoadPlan& plan, const Schedule& schedule, std::uint64_t arena_bytes,
             const MaterializeOptions& options) {
  Budget budget;
  budget.threads = threads_for(schedule, options);
  size_rings(schedule, options, budget);
  size_staging(schedule, options, budget);
  budget.window_bytes = std::clamp(all_windows / budget.threads, min_window, max_window);
  // A window also contains the rest of the huge pages that it begins and ends in.
  const std::uint64_t window =
      may_map(schedule, options) ? std::min(budget.window_bytes, schedule.sizes.max_batch) + 2 * Arena::huge_page : 0;
  // Each worker has a reader of what is inflated or gathered, and one more may be parked.
  const std::uint64_t readers = schedule.sizes.max_reader * (budget.threads + 1);
  const std::uint64_t overhead = budget.threads == 1 ? load_overhead : budget.threads * thread_overhead;
  const std::uint64_t requests = budget.threads * Arena::footprint(budget.request_bytes) + schedule.sizes.in_requests;
  budget.taken_bytes = budget.threads * Arena::footprint(budget.buffer_bytes) + overhead + readers + requests +
                       staging_footprint(schedule, options, budget) + table_bytes(plan, schedule);
  if (!options.destination) budget.taken_bytes += Arena::footprint(arena_bytes);
  if (options.drop_page_cache) budget.taken_bytes += PageCacheCleanup::table_bytes(*schedule.transfers);
  budget.host_bytes = budget.taken_bytes + budget.threads * window;
  return budget;
}

}  // namespace

Budget budget_for(const LoadPlan& plan, const MaterializeOptions& options) {
  const std::shared_ptr<const ArenaLayout> arena = PlanAccess::arena_layout(plan, options.alignment);
  Budget budget = sized(plan, *PlanAccess::schedule(plan), arena->size_bytes, options);
  budget.arena = arena;
  return budget;
}

ErrorPlace place_of(const LoadPlan& plan) {
  const Transfers& transfers = PlanAccess::transfers(plan);
  ErrorPlace place;
  if (!transfers.transfers.empty())
    place.path = transfers.sources[position(transfers.transfers.front().source)]->path();
  if (plan.size() == 1) place.tensor = plan.name(0);
  return place;
}

Budget affordable_budget(const LoadPlan& plan, const MaterializeOptions& options) {
  const std::shared_ptr<const ArenaLayout> arena = PlanAccess::arena_layout(plan, options.alignment);
  Budget budget = affordable_budget(plan, *PlanAccess::schedule(plan), arena->size_bytes, options);
  budget.arena = arena;
  return budget;
}

Budget affordable_budget(const LoadPlan& plan, const Schedule& schedule, std::uint64_t arena_bytes,
                         const MaterializeOptions& options) {
  Budget budget = sized(plan, schedule, arena_bytes, options);
  if (!options.check_memory || budget.taken_bytes < worth_asking) return budget;
  const mmap::MemoryAvailable left = mmap::memory_available();
  MaterializeOptions modest = options;
  // Rings first, which only hold what is under way; then threads, each of which has a buffer of its own.
  while (budget.taken_bytes > left.bytes && modest.staging_bytes > 0) {
    modest.staging_bytes = modest.staging_bytes < Arena::huge_page ? 0 : modest.staging_bytes / 2;
    if (modest.staging_bytes == 0) modest.threads = 1;
    budget = sized(plan, schedule, arena_bytes, modest);
  }
  require_memory(budget.taken_bytes, left, place_of(plan));
  return budget;
}

}  // namespace heft::engine
