#include "heft/materialize.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "heft/error.hpp"
#include "materialize/load_budget.hpp"
#include "materialize/memory/arena_destination.hpp"
#include "materialize/pipeline.hpp"
#include "materialize/placements.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/sink/device_sink.hpp"
#include "materialize/sink/host_sink.hpp"
#include "materialize/weights_state.hpp"

namespace heft {
namespace engine {
namespace {

// The destination's memory of one load: given up unless the load came to its end.
class LoadMemory {
 public:
  LoadMemory(const LoadPlan& plan, const MaterializeOptions& options, const Budget& budget, MemoryCount& count)
      : entries_(PlanAccess::entries(plan)) {
    const std::vector<TensorSpec> specs = specs_for(plan, options, budget.requirements);
    // A plan into the caller's own buffers: the destination is not asked for memory.
    if (specs.empty()) return;
    const ArenaDestination host(&count);
    const Destination& destination = options.destination ? *options.destination : host;
    // Staging first, as in the order of the members: the allocation, which is destroyed before it, may wait for writes
    // out of the buffers.
    if (budget.has_device) make_staging(destination, budget, count);
    allocation_ = allocate_checked(destination, budget.requirements.kind, specs);
    is_device_ = budget.requirements.kind == Destination::Kind::device;
  }

  // Places of the entries in their order; of those with the caller's buffer, in that.
  template <class Visit>
  void for_each_place(const Visit& visit) const {
    const Placement* place = allocation_ ? allocation_->placements().data() : nullptr;
    for (const PlanEntry& entry : entries_)
      visit(entry, entry.has_buffer ? Placement{.data = entry.into.data()} : *place++);
  }

  [[nodiscard]] std::unique_ptr<ChunkSink> make_sink(const Schedule& schedule, const Budget& budget,
                                                     LoadMonitor& monitor, bool is_fresh) {
    std::vector<EntryMemory> memory = entry_memory(is_fresh, schedule.sizes.written);
    // Without staging the workers can write to all of the memory.
    if (!staging_) return std::make_unique<HostSink>(schedule, monitor, std::move(memory));
    std::vector<DeviceSink::Entry> entries;
    reserve_huge(entries, entries_.size());
    for_each_place(
        [&](const PlanEntry& entry, const Placement& place) { entries.push_back({place, entry.size_bytes}); });
    return std::make_unique<DeviceSink>(
        schedule, monitor, std::move(memory),
        DeviceSink::Device{*allocation_, budget.requirements, std::move(entries), *staging_});
  }

  // Returns the tensors after every byte was written, and ends the allocation.
  [[nodiscard]] std::vector<Tensor> finish() {
    // From here the owner keeps the memory, and every tensor shares it: the last tensor that is destroyed frees it.
    const std::shared_ptr<const void> owner = allocation_ ? allocation_->finish() : nullptr;
    std::vector<Tensor> tensors;
    reserve_huge(tensors, entries_.size());
    for_each_place([&](const PlanEntry& entry, const Placement& place) {
      tensors.push_back(is_device_ && !entry.has_buffer ? device_tensor(entry, place, owner)
                                                        : host_tensor(entry, place, owner));
    });
    return tensors;
  }

 private:
  void make_staging(const Destination& destination, const Budget& budget, MemoryCount& count) {
    staging_.emplace(destination.staging(budget.staging_bytes()), budget.staging_buffer_bytes, budget.staging_buffers);
    count.add(budget.staging_bytes());
  }

  // `is_fresh` memory has not been touched.
  [[nodiscard]] std::vector<EntryMemory> entry_memory(bool is_fresh, std::uint64_t written) const {
    const Store large = store_for(written);
    std::vector<EntryMemory> memory;
    reserve_huge(memory, entries_.size());
    for_each_place([&](const PlanEntry& entry, const Placement& place) {
      if (is_device_ && !entry.has_buffer)
        memory.push_back({nullptr, large});
      else
        // The kernel zeroes a fresh page at its first touch, which leaves it in the cache: plain stores are faster
        // there than streaming ones, which bypass the cache.
        memory.push_back({address(place), is_fresh && !entry.has_buffer ? Store::cached : large});
    });
    return memory;
  }

  static std::byte* address(const Placement& place) noexcept {
    return place.data == nullptr ? nullptr : static_cast<std::byte*>(place.data) + place.byte_offset;
  }

  static Tensor device_tensor(const PlanEntry& entry, const Placement& place,
                              const std::shared_ptr<const void>& owner) {
    return tensor_of(entry, Bytes({}, owner), place, true);
  }
  static Tensor host_tensor(const PlanEntry& entry, const Placement& place, const std::shared_ptr<const void>& owner) {
    if (entry.has_buffer) return tensor_of(entry, Bytes(entry.into, nullptr), place);
    std::span<const std::byte> bytes;
    if (entry.size_bytes != 0) bytes = {address(place), static_cast<std::size_t>(entry.size_bytes)};
    return tensor_of(entry, Bytes(bytes, owner), place);
  }

  const PlanEntries& entries_;
  std::optional<StagingPool> staging_;  // outlives the allocation, whose writes end in it
  std::unique_ptr<Allocation> allocation_;
  bool is_device_ = false;
};

Weights run_plan(const LoadPlan& plan, const MaterializeOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  // All that can be refused is refused before the first byte is read: options, memory, the destination's places.
  const std::shared_ptr<const Schedule> schedule = PlanAccess::schedule(plan);
  const Budget budget = affordable_budget(plan, options);
  MemoryCount count;
  LoadMemory memory(plan, options, budget, count);
  WorkerMemories worker_memory(budget.worker_memory(), count);
  LoadMonitor monitor(options, schedule->sizes.written);
  const std::unique_ptr<ChunkSink> sink = memory.make_sink(*schedule, budget, monitor, !options.destination);
  // Declared last, destroyed first: no worker outlives the sink or the memory that it writes to.
  Pipeline pipeline({plan, *schedule, budget, options, *sink, monitor, worker_memory});
  const double plan_seconds = seconds_since(begin);
  LoadStats stats = pipeline.run();
  std::vector<Tensor> tensors = memory.finish();
  // The bytes of the destination are heft's own arena, or the caller's memory: one of the two figures.
  stats.arena_bytes = options.destination ? 0 : budget.destination_bytes;
  stats.device_bytes = options.destination ? budget.destination_bytes : 0;
  stats.host_bytes = count.bytes() + budget.reserved_bytes;
  stats.plan_seconds = plan_seconds;
  stats.seconds = seconds_since(begin);
  return WeightsAccess::make(std::move(tensors), PlanAccess::names(plan), std::move(stats));
}

}  // namespace

}  // namespace engine

Weights materialize(const LoadPlan& plan, const MaterializeOptions& options) {
  try {
    return engine::run_plan(plan, options);
  } catch (const Error& error) {
    // Fills in a path where there is none: in errors about the load as a whole, which belong to no chunk.
    throw error.with_path(engine::place_of(plan).path);
  }
}

Tensor materialize(const TensorView& view, const MaterializeOptions& options) {
  return materialize(view, view.wanted_dtype(), options);
}

Tensor materialize(const TensorView& view, DType dtype, const MaterializeOptions& options) {
  LoadPlan plan;
  plan.add(view, dtype);
  const Weights weights = materialize(plan, options);
  return *weights.begin();
}

}  // namespace heft
