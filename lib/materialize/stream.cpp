#include "heft/stream.hpp"

#include <algorithm>
#include <bit>
#include <exception>
#include <mutex>
#include <utility>

#include "heft/error.hpp"
#include "materialize/load_budget.hpp"
#include "materialize/load_monitor.hpp"
#include "materialize/memory/arena_pool.hpp"
#include "materialize/memory/memory_left.hpp"
#include "materialize/pipeline.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/sink/stream_sink.hpp"
#include "materialize/stream_groups.hpp"
#include "materialize/stream_queue.hpp"
#include "materialize/thread_pool.hpp"
#include "materialize/workers_state.hpp"

namespace heft {
namespace {

// Groups that fit the bound: enough for all workers to fill some while the consumer has others, and large enough that
// memory is used again and small tensors are read together.
constexpr std::uint64_t groups_in_flight = 8;
// Arenas take some more than their tensors, for alignment.
constexpr std::uint64_t arena_margin = 8;
// Loads of fewer bytes, read and written, end before a thread has started.
constexpr std::uint64_t worth_a_thread = 1u << 20;

// Several batches fit the bound, so that several workers have room at once; but each has a huge page at least.
engine::ChunkSizes chunk_sizes(std::uint64_t bound) {
  engine::ChunkSizes sizes;
  sizes.batch = std::clamp<std::uint64_t>(bound / (2 * groups_in_flight), engine::Arena::huge_page, sizes.batch);
  return sizes;
}

// The bound and the staging of options, as the memory that is left allows.
std::uint64_t affordable_bound(const LoadPlan& plan, MaterializeOptions& options, std::uint64_t in_flight_bytes) {
  const std::uint64_t usual =
      std::min(in_flight_bytes, engine::PlanAccess::bytes_written(plan)) + options.staging_bytes;
  if (!options.check_memory || usual < engine::worth_asking) return in_flight_bytes;
  const std::uint64_t left = mmap::memory_available().bytes;
  // Half of the free memory is for the consumer, whose tensors no longer count for the bound once it asks for the next
  // one.
  if (usual <= left / 2) return in_flight_bytes;
  options.staging_bytes = engine::modest_bytes(options.staging_bytes, left);
  return std::min(in_flight_bytes, left / 4);
}

}  // namespace

// A load whose sink hands out tensors. Destroying it stops the workers and waits for them.
struct [[gnu::visibility("hidden")]] TensorStream::State {
 public:
  State(LoadPlan whole, const MaterializeOptions& how, const StreamOptions& stream_options)
      : plan(std::move(whole)),
        options(how),
        bound(affordable_bound(plan, options, stream_options.in_flight_bytes)),
        groups(engine::StreamGroups::of(plan, stream_options.order, bound / groups_in_flight, options.alignment)),
        schedule(engine::compile(engine::PlanAccess::shared_transfers(plan), chunk_sizes(bound), groups.group_of)),
        budget(engine::affordable_budget(plan, *schedule, std::min(bound, schedule->sizes.written), options)),
        arenas(std::make_shared<engine::ArenaPool>(2 * groups_in_flight, bound + bound / arena_margin)),
        queue(groups.sizes(), bound, stream_options.order != StreamOrder::as_finished),
        monitor(options, schedule->sizes.written),
        sink({.plan = plan,
              .schedule = *schedule,
              .groups = groups,
              .monitor = monitor,
              .receiver = queue,
              .arenas = *arenas,
              .alignment = options.alignment,
              .checked_bytes = options.check_memory ? std::max(bound, engine::worth_asking) : UINT64_MAX}),
        memory(budget.worker_memory(), count),
        pipeline({.plan = plan,
                  .schedule = *schedule,
                  .budget = budget,
                  .options = options,
                  .sink = sink,
                  .monitor = monitor,
                  .memory = memory,
                  .compares_at_end = false}),
        caller_stop(how.stop, [this] { stop.request_stop(); }) {
    // The pipeline refers to `options`. The load gets a token of the stream's own, which the caller's token stops
    // (caller_stop), and the destructor.
    options.stop = stop.get_token();
    // Without a loader, take() loads on the consumer's thread.
    if (schedule->sizes.read + schedule->sizes.written < worth_a_thread) return;
    // One thread that runs the pipeline, which starts the other workers.
    if (!options.workers) own.emplace(1);
    has_loader =
        loader.start(own ? *own : engine::WorkersAccess::pool(*options.workers), [this] { queue.end(loaded(true)); });
    if (!has_loader) monitor.note("no thread to load ahead: the consumer's loads");
  }

  ~State() {
    // The token ends the load between two chunks, and the queue ends the wait of a worker for room. `loader`, the first
    // member to be destroyed, waits for both.
    stop.request_stop();
    queue.stop();
  }

  std::optional<Tensor> take() {
    // Batch by batch, until a tensor is whole: no more is loaded ahead than one batch.
    while (!has_loader && !queue.can_take())
      if (!pipeline.step()) queue.end(loaded(false));
    return queue.take();
  }

  [[nodiscard]] LoadStats stats() const {
    const std::lock_guard lock(stats_mutex);
    // While the load runs, the counts so far; afterwards the sums, which only the end of the pipeline has.
    return has_stats ? total : monitor.stats();
  }

  // Loads everything, or ends a load in steps. Returns the failure, or null. This thread has released the exception
  // before the consumer can get it, so that one thread at a time holds it.
  std::exception_ptr loaded(bool on_workers) noexcept {
    try {
      LoadStats stats = on_workers ? pipeline.run() : pipeline.finish();
      stats.arena_bytes = arenas->peak_bytes();
      stats.host_bytes = stats.arena_bytes + count.bytes() + budget.reserved_bytes;
      stats.seconds = stats.load_seconds;
      const std::lock_guard lock(stats_mutex);
      total = std::move(stats);
      has_stats = true;
      return nullptr;
    } catch (const Error& error) {
      return failure_of(error);
    } catch (...) {
      return std::current_exception();
    }
  }

  std::exception_ptr failure_of(const Error& error) const noexcept {
    try {
      // Errors about the load as a whole get a path here, as materialize() does it.
      return std::make_exception_ptr(error.with_path(engine::place_of(plan).path));
    } catch (...) {
      return std::current_exception();
    }
  }

  const LoadPlan plan;
  MaterializeOptions options;
  const std::uint64_t bound;
  const engine::StreamGroups groups;
  const std::shared_ptr<const engine::Schedule> schedule;
  const engine::Budget budget;
  const std::shared_ptr<engine::ArenaPool> arenas;
  engine::StreamQueue queue;
  engine::LoadMonitor monitor;
  engine::StreamSink sink;
  engine::MemoryCount count;
  engine::WorkerMemories memory;
  engine::Pipeline pipeline;
  mutable std::mutex stats_mutex;
  bool has_stats = false;
  LoadStats total;
  std::stop_source stop;
  std::stop_callback<std::function<void()>> caller_stop;
  std::optional<engine::ThreadPool> own;
  bool has_loader = false;
  engine::Crew loader;  // last, so that it has ended before anything else is destroyed
};

TensorStream::TensorStream(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
TensorStream::TensorStream(TensorStream&&) noexcept = default;
TensorStream& TensorStream::operator=(TensorStream&&) noexcept = default;
TensorStream::~TensorStream() = default;

std::optional<Tensor> TensorStream::next() { return state_->take(); }

LoadStats TensorStream::stats() const { return state_->stats(); }

TensorStream stream(LoadPlan plan, const MaterializeOptions& options, const StreamOptions& stream_options) {
  if (options.destination)
    throw Error(ErrorCode::unsupported, "expected a stream to place its tensors itself, found a destination");
  return TensorStream(std::make_unique<TensorStream::State>(std::move(plan), options, stream_options));
}

}  // namespace heft
