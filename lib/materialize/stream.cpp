#include "heft/stream.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "heft/error.hpp"
#include "materialize/execute.hpp"
#include "materialize/load_monitor.hpp"
#include "materialize/memory/arena_pool.hpp"
#include "materialize/memory/memory_left.hpp"
#include "materialize/pipeline.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/thread_pool.hpp"
#include "materialize/workers_state.hpp"

namespace heft {
namespace {

// A group of tensors is loaded as one: large enough to keep the workers busy, small enough that several fit the bound.
constexpr std::uint64_t groups_in_flight = 4;
// Rings of direct reads kept from one group to the next: one of each worker.
constexpr std::size_t max_rings = 64;

// Entries in the order of their first byte: sources as the plan came to them, then offsets. Those without bytes come
// first.
std::vector<std::uint32_t> file_order(const LoadPlan& plan) {
  using Place = std::pair<engine::SourceIndex, std::uint64_t>;
  constexpr Place nowhere{engine::SourceIndex{0xFFFFFFFF}, 0};
  std::vector<Place> first(plan.size(), nowhere);
  for (const engine::Transfer& transfer : engine::PlanAccess::transfers(plan).transfers) {
    Place& place = first[engine::position(transfer.entry)];
    place = std::min(place, Place{transfer.source, transfer.from});
  }
  std::replace(first.begin(), first.end(), nowhere, Place{});
  std::vector<std::uint32_t> order(plan.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return first[a] < first[b]; });
  return order;
}

// Finished tensors on their way to the consumer, and the room there is for more.
class BoundedQueue {
 public:
  explicit BoundedQueue(std::uint64_t bound) : bound_(bound) {}

  // Waits until `bytes` more fit. False: there is no need for more.
  bool await_room(std::uint64_t bytes) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ || ahead_ == 0 || ahead_ + bytes <= bound_; });
    ahead_ += bytes;
    return !stopped_;
  }

  // Takes room for `bytes` more, whether they fit or not.
  void take_room(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    ahead_ += bytes;
  }

  // Whether take() has something to return, or throw, without waiting.
  [[nodiscard]] bool can_take() const {
    const std::lock_guard lock(mutex_);
    return !ready_.empty() || ended_;
  }

  void note(std::string message) {
    const std::lock_guard lock(mutex_);
    engine::add_note(stats_.notes, std::move(message));
  }

  // Puts a group down, for which there was room.
  void put(const Weights& group, std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    std::size_t left = group.size();
    for (const Tensor& tensor : group) ready_.push_back({tensor, --left == 0 ? bytes : 0});
    engine::add_stats(stats_, group.stats());
    changed_.notify_all();
  }

  // Nothing comes any more; `failure` says why when it is not the end.
  void end(std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    failure_ = std::move(failure);
    changed_.notify_all();
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }

  // The next tensor. Makes room for as much as the one before, and what was loaded with it, took.
  std::optional<Tensor> take() {
    std::unique_lock lock(mutex_);
    ahead_ -= std::exchange(given_, 0);
    changed_.notify_all();
    changed_.wait(lock, [&] { return !ready_.empty() || ended_; });
    if (ready_.empty()) {
      if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
      return std::nullopt;
    }
    Item item = std::move(ready_.front());
    ready_.pop_front();
    given_ = item.room;
    return std::move(item.tensor);
  }

  [[nodiscard]] LoadStats stats() const {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

 private:
  struct Item {
    Tensor tensor;
    std::uint64_t room = 0;  // that letting this tensor go makes: its group's, for the last of a group
  };

  const std::uint64_t bound_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> ready_;
  // Bytes of groups that are being loaded, are ready, or that the consumer is not through with.
  std::uint64_t ahead_ = 0;
  std::uint64_t given_ = 0;
  bool stopped_ = false;
  bool ended_ = false;
  std::exception_ptr failure_;
  LoadStats stats_;
};

}  // namespace

// The loader's thread and what it works on. Destroying it stops the loader and waits for it.
struct [[gnu::visibility("hidden")]] TensorStream::State {
 public:
  State(LoadPlan whole, const MaterializeOptions& how, std::uint64_t in_flight_bytes)
      : plan(std::move(whole)),
        options(how),
        order(file_order(plan)),
        bound(affordable_bound(plan, options, in_flight_bytes)),
        group_bytes(bound / groups_in_flight),
        pool(std::make_shared<engine::ArenaPool>(groups_in_flight, bound)),
        queue(bound),
        caller_stop(how.stop, [this] { stop.request_stop(); }) {
    options.stop = stop.get_token();
    if (how.progress)
      options.progress = [this, report = how.progress,
                          total = engine::PlanAccess::bytes_written(plan)](const Progress& group) {
        report({.bytes_done = loaded + group.bytes_done, .bytes_total = total});
      };
    if (options.drop_page_cache) before = engine::PageSnapshot::of_files(engine::PlanAccess::transfers(plan));
    if (!options.workers) own.emplace(1);
    engine::ThreadPool& pool_of_loader = own ? *own : engine::WorkersAccess::pool(*options.workers);
    has_loader = loader.start(pool_of_loader, [this] { load(); });
    if (!has_loader) queue.note("no thread to load ahead: the system gives none");
  }

  ~State() {
    stop.request_stop();
    queue.stop();
  }

  std::optional<Tensor> take() {
    if (!has_loader) load_here();
    return queue.take();
  }

  [[nodiscard]] LoadStats stats() const { return queue.stats(); }

 private:
  // The loader has let go of a failure before the consumer can have it: one thread at a time holds an exception.
  void load() noexcept { queue.end(load_groups()); }

  // Loads all groups. Returns the failure, or null.
  std::exception_ptr load_groups() noexcept {
    try {
      while (next < order.size()) {
        const LoadPlan group = next_group();
        if (!queue.await_room(engine::PlanAccess::bytes_written(group))) break;
        load_group(group);
      }
      return nullptr;
    } catch (...) {
      return std::current_exception();
    }
  }

  // What is in flight, and the ring of options, as the memory that is left allows: an arena that was let go may wait
  // for its next use while others are filled, so that a quarter of it is in flight.
  static std::uint64_t affordable_bound(const LoadPlan& plan, MaterializeOptions& options,
                                        std::uint64_t in_flight_bytes) {
    const std::uint64_t usual =
        std::min(in_flight_bytes, engine::PlanAccess::bytes_written(plan)) + options.staging_bytes;
    if (!options.check_memory || usual < engine::worth_asking) return in_flight_bytes;
    const std::uint64_t left = mmap::memory_available().bytes;
    if (usual <= left / 2) return in_flight_bytes;
    options.staging_bytes = engine::modest_bytes(options.staging_bytes, left);
    return std::min(in_flight_bytes, left / 4);
  }

  // A tensor that is larger than all that is in flight is alone: its memory is compared with what is left.
  void require_room(const LoadPlan& group) const {
    if (!options.check_memory || engine::PlanAccess::bytes_written(group) <= bound ||
        engine::PlanAccess::bytes_written(group) < engine::worth_asking)
      return;
    pool->clear();
    engine::require_memory(engine::PlanAccess::bytes_written(group), mmap::memory_available(), engine::place_of(group));
  }

  // Where the system gives no thread: the next group, on the consumer's, when no tensor is left of the last one.
  void load_here() {
    if (queue.can_take()) return;
    try {
      if (next == order.size()) return queue.end(nullptr);
      const LoadPlan group = next_group();
      queue.take_room(engine::PlanAccess::bytes_written(group));
      load_group(group);
    } catch (...) {
      queue.end(std::current_exception());
    }
  }

  LoadPlan next_group() {
    const std::size_t count = count_of_group(next);
    LoadPlan group = engine::select(plan, std::span<const std::uint32_t>(order).subspan(next, count));
    next += count;
    return group;
  }

  void load_group(const LoadPlan& group) {
    require_room(group);
    options.destination = std::make_shared<engine::PooledDestination>(pool);
    queue.put(engine::execute(group, options, {rings.get(), &before}), engine::PlanAccess::bytes_written(group));
    loaded += engine::PlanAccess::bytes_written(group);
  }

  [[nodiscard]] std::size_t count_of_group(std::size_t begin) const {
    const auto& entries = engine::PlanAccess::entries(plan);
    std::size_t end = begin + 1;
    for (std::uint64_t bytes = entries[order[begin]].size_bytes; end < order.size(); ++end)
      if ((bytes += entries[order[end]].size_bytes) > group_bytes) break;
    return end - begin;
  }

  LoadPlan plan;
  MaterializeOptions options;
  std::vector<std::uint32_t> order;
  std::uint64_t bound;
  std::uint64_t group_bytes;
  std::shared_ptr<engine::ArenaPool> pool;
  std::shared_ptr<engine::ArenaPool> rings = std::make_shared<engine::ArenaPool>(max_rings, std::uint64_t{1} << 30);
  engine::PageSnapshot before;  // of the stream: what one group read ahead is new to the next one too
  std::size_t next = 0;         // the first of `order` that no group has had
  std::uint64_t loaded = 0;     // bytes of finished groups
  BoundedQueue queue;
  std::stop_source stop;
  std::stop_callback<std::function<void()>> caller_stop;
  std::optional<engine::ThreadPool> own;
  bool has_loader = false;
  engine::Crew loader;  // last, so that it has ended before anything else goes
};

TensorStream::TensorStream(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
TensorStream::TensorStream(TensorStream&&) noexcept = default;
TensorStream& TensorStream::operator=(TensorStream&&) noexcept = default;
TensorStream::~TensorStream() = default;

std::optional<Tensor> TensorStream::next() { return state_->take(); }

LoadStats TensorStream::stats() const { return state_->stats(); }

TensorStream stream(LoadPlan plan, const MaterializeOptions& options, std::uint64_t in_flight_bytes) {
  if (options.destination)
    throw Error(ErrorCode::unsupported, "expected a stream to place its tensors itself, found a destination");
  return TensorStream(std::make_unique<TensorStream::State>(std::move(plan), options, in_flight_bytes));
}

}  // namespace heft
