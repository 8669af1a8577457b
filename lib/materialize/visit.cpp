#include "materialize/visit.hpp"

#include <algorithm>

#include "heft/error.hpp"
#include "materialize/load_budget.hpp"
#include "materialize/load_monitor.hpp"
#include "materialize/memory/arena_pool.hpp"
#include "materialize/memory/memory_left.hpp"
#include "materialize/pipeline.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/sink/stream_sink.hpp"
#include "materialize/stream_groups.hpp"
#include "materialize/visit_room.hpp"

namespace heft::engine {
namespace {

// Staging of each worker, at most: reads in flight, in a ring that stays in the cache.
constexpr std::uint64_t staging_a_worker = 2u << 20;
// Windows that have room, for each worker: more than its reads in flight fill, and those that the visitor keeps.
constexpr std::uint64_t bytes_a_worker = 8u << 20;
// Smaller arenas are as large as the largest window or this, so that windows of any size use the same ones again.
constexpr std::uint64_t usual_arena = 1u << 20;
// Bytes that a worker takes at once: few enough that the windows of all workers are near each other.
constexpr std::uint64_t batch_bytes = 4u << 20;

std::uint64_t max_arena_bytes(const StreamGroups& groups) noexcept {
  std::uint64_t max_bytes = 0;
  for (const StreamGroup& group : groups.groups) max_bytes = std::max(max_bytes, group.arena_bytes);
  return max_bytes;
}

std::vector<std::uint64_t> arena_sizes(const StreamGroups& groups) {
  std::vector<std::uint64_t> sizes;
  sizes.reserve(groups.groups.size());
  for (const StreamGroup& group : groups.groups) sizes.push_back(group.arena_bytes);
  return sizes;
}

StreamGroups groups_of(const LoadPlan& plan, const Windows& windows, std::uint64_t alignment) {
  StreamGroups groups = StreamGroups::of(plan, windows.entries(), windows.ends(), alignment);
  const std::uint64_t min_bytes = std::min(max_arena_bytes(groups), usual_arena);
  for (StreamGroup& group : groups.groups)
    if (group.arena_bytes != 0) group.arena_bytes = std::max(group.arena_bytes, min_bytes);
  return groups;
}

LoadStats run(const LoadPlan& plan, MaterializeOptions options, const Windows& windows, const Visitor& visitor) {
  const auto begin = std::chrono::steady_clock::now();
  options.staging_bytes = std::min(options.staging_bytes, staging_a_worker * asked_threads(options));
  const StreamGroups groups = groups_of(plan, windows, options.alignment);
  ChunkSizes chunk_sizes;
  chunk_sizes.batch = batch_bytes;
  const std::shared_ptr<const Schedule> schedule =
      compile(PlanAccess::shared_transfers(plan), chunk_sizes, groups.group_of);
  const std::uint64_t bound = std::max(bytes_a_worker * asked_threads(options), max_arena_bytes(groups));
  const Budget budget = affordable_budget(plan, *schedule, std::min(bound, schedule->sizes.written), options);
  // More than the room, which the first window may exceed: an arena that is freed then is soon allocated again.
  const auto arenas = std::make_shared<ArenaPool>(2 * bound / usual_arena, 2 * bound);
  // Of the arenas, which may be larger than the windows in them.
  const auto room = std::make_shared<VisitRoom>(arena_sizes(groups), bound, visitor);
  LoadMonitor monitor(options, schedule->sizes.written);
  StreamSink sink({.plan = plan,
                   .schedule = *schedule,
                   .groups = groups,
                   .monitor = monitor,
                   .receiver = *room,
                   .arenas = *arenas,
                   .alignment = options.alignment,
                   .checked_bytes = options.check_memory ? std::max(bound, worth_asking) : UINT64_MAX});
  MemoryCount count;
  WorkerMemories memory(budget.worker_memory(), count);
  Pipeline pipeline({.plan = plan,
                     .schedule = *schedule,
                     .budget = budget,
                     .options = options,
                     .sink = sink,
                     .monitor = monitor,
                     .memory = memory,
                     .compares_at_end = false});
  const double plan_seconds = seconds_since(begin);
  LoadStats stats = pipeline.run();
  stats.plan_seconds = plan_seconds;
  stats.arena_bytes = arenas->peak_bytes();
  stats.host_bytes = stats.arena_bytes + count.bytes() + budget.reserved_bytes;
  stats.seconds = seconds_since(begin);
  return stats;
}

}  // namespace

LoadStats visit(const LoadPlan& plan, const MaterializeOptions& options, const Windows& windows,
                const Visitor& visitor) {
  try {
    return run(plan, options, windows, visitor);
  } catch (const Error& error) {
    throw error.with_path(place_of(plan).path);
  }
}

}  // namespace heft::engine
