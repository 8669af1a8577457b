#include "materialize/load_budget.hpp"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>
#include <vector>

#include "heft/error.hpp"
#include "materialize/io/page_cache_cleanup.hpp"
#include "materialize/memory/arena_destination.hpp"
#include "materialize/memory/memory_left.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/sink/device_sink.hpp"
#include "materialize/tensor_specs.hpp"
#include "materialize/thread_pool.hpp"
#include "mmap/descriptor_pool.hpp"
#include "mmap/memory_available.hpp"

namespace heft::engine {
namespace {

// A thread takes some 50 microseconds to start and to end: a load that is copied in that time gains nothing from it.
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

unsigned threads_for(const Schedule& schedule, const MaterializeOptions& options) {
  const std::uint64_t bytes = std::max(schedule.sizes.read, schedule.sizes.written);
  // Threads beyond the number of batches would find none.
  const std::uint64_t worth =
      std::clamp<std::uint64_t>(bytes / bytes_worth_a_thread, 1, std::max<std::size_t>(schedule.batches.size(), 1));
  // Not asked for a small load: the two calls below take as long as the load itself.
  if (worth == 1) return 1;
  const unsigned asked = asked_threads(options);
  const std::uint64_t open = std::max<std::uint64_t>(mmap::descriptor_limit() / descriptors_a_thread, 1);
  return static_cast<unsigned>(std::min({std::uint64_t{asked}, worth, open}));
}

std::uint64_t table_bytes(const LoadPlan& plan, const Schedule& schedule, bool has_device) {
  const Transfers& transfers = *schedule.transfers;
  // By capacity, not by size: the tables took that much from the heap.
  const std::uint64_t compiled = transfers.axes.capacity() * sizeof(Axis) +
                                 transfers.transfers.capacity() * sizeof(Transfer) +
                                 schedule.parts.capacity() * sizeof(Part) + schedule.chunks.capacity() * sizeof(Chunk) +
                                 schedule.batches.capacity() * sizeof(Batch);
  std::uint64_t entry = sizeof(Tensor) + sizeof(EntryMemory) + sizeof(Placement);
  if (has_device) entry += sizeof(DeviceSink::Entry);
  return compiled + PlanAccess::names(plan).size_bytes() + plan.size() * entry;
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

// Room for everything that the chunks span, as direct reads take it: a load needs no larger ring. In whole huge pages
// where it is large, so that loads of about the same size can use one ring after the other.
std::uint64_t spanned_bytes(const Schedule& schedule) noexcept {
  const std::uint64_t bytes = schedule.sizes.spanned + schedule.chunks.size() * direct_margin;
  return round_up(bytes, bytes < Arena::huge_page ? mmap::page_size() : std::size_t{Arena::huge_page});
}

bool reads_singly(const Schedule& schedule, const Budget& budget) noexcept {
  // More are faster in flight together.
  constexpr std::size_t max_chunks = 2;
  if (budget.has_device || schedule.chunks.size() > max_chunks || schedule.sizes.spanned > max_single_read)
    return false;
  return std::none_of(schedule.chunks.begin(), schedule.chunks.end(), [](const Chunk& chunk) { return chunk.sparse; });
}

// The part of the bound that the rings of all threads take: bytes are copied out of a ring that stays in the last-level
// cache faster than out of memory.
std::uint64_t ring_share(const MaterializeOptions& options) noexcept {
  constexpr std::uint64_t part = 4;
  if (options.staging_bytes != MaterializeOptions{}.staging_bytes) return options.staging_bytes / part;
  // A caller who has chosen a bound has measured. The default must also suit processors with a small cache.
  return std::min(options.staging_bytes, mmap::last_level_cache_bytes()) / part;
}

void size_ring(const Schedule& schedule, const MaterializeOptions& options, Budget& budget) {
  if (!may_read_directly(schedule, options)) return;
  budget.reads_singly = reads_singly(schedule, budget);
  const std::uint64_t converted = schedule.sizes.max_converted + direct_margin;
  if (budget.has_device) {
    // On the way to a device, contiguous chunks are read into staging buffers. The ring holds the largest converted
    // chunk, and two of the usual size.
    budget.ring_bytes =
        std::min(round_up(std::max(converted, min_device_ring), mmap::page_size()), spanned_bytes(schedule));
    return;
  }
  // In whole huge pages: on small ones, a read in flight is split into more pieces for the device.
  const std::uint64_t least = round_up(converted, Arena::huge_page);
  const std::uint64_t share = ring_share(options) / budget.threads / Arena::huge_page * Arena::huge_page;
  // The caller's bound gives way to the largest chunk: a ring that cannot hold it could never read it.
  const std::uint64_t wanted = std::clamp(share, least, std::max(least, max_ring));
  budget.ring_bytes = std::min(wanted, spanned_bytes(schedule));
}

void size_requests(const Schedule& schedule, const MaterializeOptions& options, Budget& budget) {
  const ScheduleSizes& sizes = schedule.sizes;
  if (sizes.max_request == 0) return;
  const std::uint64_t page = mmap::page_size();
  const std::uint64_t share = options.staging_bytes / budget.threads / Arena::huge_page * Arena::huge_page;
  // Each worker's share of the bound, but room for the largest chunk, and no more than all requests fill.
  budget.request_bytes =
      std::min(std::max(share, round_up(sizes.max_request, page)), round_up(sizes.request_spanned, page));
}

// As large as leaves each worker two slices to fill and two to write, and no larger than the device takes at once.
std::uint64_t device_slice(const MaterializeOptions& options, const Budget& budget) noexcept {
  const std::uint64_t share = options.staging_bytes / (2 * std::uint64_t{budget.threads});
  const std::uint64_t wanted = std::bit_floor(std::min(share, budget.requirements.max_write_bytes));
  return std::clamp(wanted, min_device_slice, max_device_slice);
}

void size_staging(const Schedule& schedule, const MaterializeOptions& options, Budget& budget) {
  if (!budget.has_device) return;
  const ScheduleSizes& sizes = schedule.sizes;
  budget.device_slice = device_slice(options, budget);
  const std::uint64_t slice = std::min(budget.device_slice, sizes.max_chunk) + direct_margin;
  budget.staging_buffer_bytes = round_up(std::max(slice, sizes.max_filled), mmap::page_size());
  // Device slices are twice direct ones at least, and get twice the memory.
  const std::uint64_t bound = std::min(options.staging_bytes, max_ring / 2) * (min_device_slice / direct_slice);
  // Two for each worker: one is filled while the device takes the other.
  const std::size_t least = 2 * std::size_t{budget.threads};
  // No more than all chunks fill, if each is begun in a buffer of its own.
  const std::size_t most = least + schedule.chunks.size() + sizes.written / budget.staging_buffer_bytes;
  budget.staging_buffers = std::clamp<std::size_t>(bound / budget.staging_buffer_bytes, least, most);
  budget.buffers_a_worker = budget.staging_buffers / budget.threads - 1;
}

// The part of a budget that does not depend on how much memory is left.
struct Ends {
  Destination::Requirements requirements;
  std::uint64_t destination_bytes = 0;
  std::uint64_t arena_bytes = 0;  // the footprint of heft's own arena
  bool has_bytes = false;         // some tensor to allocate memory for is not empty
};

Ends ends_of(const LoadPlan& plan, const MaterializeOptions& options) {
  const Destination::Requirements requirements =
      options.destination ? options.destination->requirements() : ArenaDestination().requirements();
  // Larger writes are cut into pieces of this size: with 0 that would never end.
  if (requirements.max_write_bytes == 0)
    throw Error(ErrorCode::out_of_range, "expected a destination that takes writes of 1 byte at least, found 0");
  const std::vector<TensorSpec> specs = specs_for(plan, options, requirements);
  Ends ends{.requirements = requirements};
  ends.has_bytes = std::any_of(specs.begin(), specs.end(), [](const TensorSpec& spec) { return spec.size_bytes != 0; });
  if (specs.empty()) return ends;
  if (options.destination) {
    ends.destination_bytes = options.destination->bytes_for(specs);
  } else {
    ends.destination_bytes = ArenaDestination().bytes_for(specs);
    ends.arena_bytes = arena_footprint(specs, ends.destination_bytes);
  }
  return ends;
}

Budget sized(const LoadPlan& plan, const Schedule& schedule, const MaterializeOptions& options, const Ends& ends) {
  Budget budget;
  budget.requirements = ends.requirements;
  budget.destination_bytes = ends.destination_bytes;
  budget.has_device = ends.has_bytes && ends.requirements.kind == Destination::Kind::device;
  budget.threads = threads_for(schedule, options);
  const ScheduleSizes& sizes = schedule.sizes;
  budget.buffer_bytes = std::max(sizes.max_converted, std::min(sizes.max_buffered, ChunkSizes{}.converted));
  size_ring(schedule, options, budget);
  size_requests(schedule, options, budget);
  size_staging(schedule, options, budget);
  budget.window_bytes = std::clamp(all_windows / budget.threads, min_window, max_window);
  // A window also contains the rest of the huge pages that it begins and ends in.
  const std::uint64_t window = !budget.has_device && may_map(schedule, options)
                                   ? std::min(budget.window_bytes, sizes.max_batch) + 2 * Arena::huge_page
                                   : 0;
  // Each worker has a reader of inflated or gathered bytes, and one more may be parked.
  const std::uint64_t readers = sizes.max_reader * (budget.threads + 1);
  const std::uint64_t overhead = budget.threads == 1 ? load_overhead : budget.threads * thread_overhead;
  const std::uint64_t cleanup = options.drop_page_cache ? PageCacheCleanup::table_bytes(*schedule.transfers) : 0;
  const std::uint64_t requests =
      budget.threads * Arena::footprint(budget.request_bytes, Arena::huge_page) + sizes.in_requests;
  const std::uint64_t held = overhead + readers + requests + table_bytes(plan, schedule, budget.has_device) + cleanup;
  budget.taken_bytes =
      WorkerMemories::footprint(budget.worker_memory()) + budget.staging_bytes() + ends.arena_bytes + held;
  budget.reserved_bytes = held + budget.threads * window;
  budget.host_bytes = budget.taken_bytes + budget.threads * window;
  return budget;
}

// Returns a budget that fits the memory that is left: with smaller rings, which contain only reads in flight, then with
// one thread, as each has a buffer of its own.
template <class FindEnds>
Budget affordable(Budget budget, const LoadPlan& plan, const Schedule& schedule, const MaterializeOptions& options,
                  const FindEnds& find_ends) {
  const mmap::MemoryAvailable left = mmap::memory_available();
  if (budget.taken_bytes <= left.bytes) return budget;
  // Not before it is needed: it lists all tensors, and asks the destination about them.
  const Ends ends = find_ends();
  MaterializeOptions modest = options;
  while (budget.taken_bytes > left.bytes && modest.staging_bytes > 0) {
    // Ends after some 40 rounds: the bound halves down to a huge page. The last round has one thread and the smallest
    // rings that the chunks allow.
    modest.staging_bytes = modest.staging_bytes < Arena::huge_page ? 0 : modest.staging_bytes / 2;
    if (modest.staging_bytes == 0) modest.threads = 1;
    budget = sized(plan, schedule, modest, ends);
  }
  require_memory(budget.taken_bytes, left, place_of(plan));
  return budget;
}

}  // namespace

std::vector<TensorSpec> specs_for(const LoadPlan& plan, const MaterializeOptions& options,
                                  const Destination::Requirements& requirements) {
  require_alignment(options.alignment);
  require_alignment(requirements.alignment);
  return tensor_specs(PlanAccess::entries(plan), PlanAccess::transfers(plan),
                      std::max(options.alignment, requirements.alignment));
}

Budget budget_for(const LoadPlan& plan, const MaterializeOptions& options) {
  CompiledPlan& compiled = PlanAccess::compiled(plan);
  const std::shared_ptr<const Schedule> schedule = PlanAccess::schedule(plan);
  BudgetKey key(options, threads_for(*schedule, options));
  // An estimate is usually followed by the load itself, with the same options.
  if (const std::optional<Budget> kept = compiled.budget(key)) return *kept;
  const Budget budget = sized(plan, *schedule, options, ends_of(plan, options));
  if (key.can_be_kept()) compiled.keep(std::move(key), budget);
  return budget;
}

ErrorPlace place_of(const LoadPlan& plan) {
  const Transfers& transfers = PlanAccess::transfers(plan);
  ErrorPlace place;
  if (!transfers.transfers.empty())
    place.path = transfers.sources[position(transfers.transfers.front().source)]->path();
  if (plan.size() == 1) place.tensor = plan[0].name;
  return place;
}

Budget affordable_budget(const LoadPlan& plan, const MaterializeOptions& options) {
  const Budget budget = budget_for(plan, options);
  // Small loads skip the question, which costs several reads of /proc and of cgroup files.
  if (!options.check_memory || budget.taken_bytes < worth_asking) return budget;
  return affordable(budget, plan, *PlanAccess::schedule(plan), options, [&] { return ends_of(plan, options); });
}

Budget affordable_budget(const LoadPlan& plan, const Schedule& schedule, std::uint64_t arena_bytes,
                         const MaterializeOptions& options) {
  const Ends ends{.requirements = {},
                  .destination_bytes = arena_bytes,
                  .arena_bytes = Arena::footprint(arena_bytes, options.alignment),
                  .has_bytes = arena_bytes != 0};
  const Budget budget = sized(plan, schedule, options, ends);
  if (!options.check_memory || budget.taken_bytes < worth_asking) return budget;
  return affordable(budget, plan, schedule, options, [&] { return ends; });
}

}  // namespace heft::engine
