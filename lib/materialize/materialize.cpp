#include "heft/materialize.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "heft/error.hpp"
#include "materialize/budget.hpp"
#include "materialize/memory/arena.hpp"
#include "materialize/pipeline.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/sink/device_sink.hpp"
#include "materialize/sink/host_sink.hpp"
#include "materialize/weights_state.hpp"

namespace heft {
namespace engine {
namespace {

// Results that fit the last-level cache may stay in it.
constexpr std::uint64_t larger_than_caches = 16u << 20;

// A destination's memory: given up unless the load came to its end.
class AllocatedDestination {
 public:
  AllocatedDestination(Destination& destination, std::uint64_t size_bytes, std::uint64_t alignment)
      : destination_(destination) {
    if (size_bytes != 0) memory_ = destination.allocate(size_bytes, alignment);
    is_device_ = size_bytes != 0 && memory_.empty();
    if (is_device_ || size_bytes == 0) return;
    try {
      require_room(size_bytes, alignment);
    } catch (...) {
      destination.abandon();
      throw;
    }
  }
  ~AllocatedDestination() {
    if (!finished_) destination_.abandon();
  }
  AllocatedDestination(const AllocatedDestination&) = delete;
  AllocatedDestination& operator=(const AllocatedDestination&) = delete;

  /// Null for device memory, and when nothing was allocated.
  [[nodiscard]] std::byte* data() const noexcept { return memory_.data(); }
  [[nodiscard]] bool is_device() const noexcept { return is_device_; }
  std::shared_ptr<const void> finish() {
    finished_ = true;  // one of the two is called, even if this one throws
    return destination_.finish();
  }

 private:
  void require_room(std::uint64_t size_bytes, std::uint64_t alignment) const {
    if (memory_.size() < size_bytes)
      throw Error(ErrorCode::out_of_range,
                  fmt::format("expected {} bytes of the destination, it gave {}", size_bytes, memory_.size()));
    if (reinterpret_cast<std::uintptr_t>(memory_.data()) % alignment != 0)
      throw Error(ErrorCode::misaligned,
                  fmt::format("expected memory of the destination on a multiple of {}, it is not", alignment));
  }

  Destination& destination_;
  std::span<std::byte> memory_;
  bool is_device_ = false;
  bool finished_ = false;
};

// `is_fresh` memory has not been touched.
std::vector<EntryMemory> entry_memory(const PlanEntries& entries, const ArenaLayout& layout, std::byte* arena,
                                      bool is_fresh, std::uint64_t written) {
  const Store large = written > larger_than_caches ? Store::streaming : Store::cached;
  std::vector<EntryMemory> memory;
  reserve_huge(memory, entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].has_buffer)
      memory.push_back({entries[i].into.data(), large});
    else
      memory.push_back({arena == nullptr ? nullptr : arena + layout.offsets[i], is_fresh ? Store::cached : large});
  }
  return memory;
}

Tensor tensor_of(const PlanEntry& entry, Bytes bytes, std::optional<std::uint64_t> device_offset) {
  Strides strides = entry.strides ? *entry.strides : Strides::contiguous(entry.shape);
  return Tensor(entry.name, entry.dtype, entry.shape, std::move(strides), std::move(bytes), device_offset);
}

std::vector<Tensor> tensors_of(const PlanEntries& entries, const ArenaLayout& layout,
                               const AllocatedDestination& destination, const std::shared_ptr<const void>& owner) {
  std::vector<Tensor> tensors;
  reserve_huge(tensors, entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const PlanEntry& entry = entries[i];
    const auto size = static_cast<std::size_t>(entry.size_bytes);
    if (entry.has_buffer)
      tensors.push_back(tensor_of(entry, Bytes(entry.into, nullptr), {}));
    else if (destination.is_device())
      tensors.push_back(tensor_of(entry, Bytes({}, owner), layout.offsets[i]));
    else
      tensors.push_back(
          tensor_of(entry,
                    Bytes(size == 0 ? std::span<const std::byte>()
                                    : std::span<const std::byte>(destination.data() + layout.offsets[i], size),
                          owner),
                    {}));
  }
  return tensors;
}

std::unique_ptr<ChunkSink> make_sink(const Schedule& schedule, const Budget& budget, LoadMonitor& monitor,
                                     std::vector<EntryMemory> memory, Destination* device) {
  if (device == nullptr) return std::make_unique<HostSink>(schedule, monitor, std::move(memory));
  auto staging = StagingPool::make(budget.staging_buffer_bytes, budget.staging_buffers);
  return std::make_unique<DeviceSink>(schedule, monitor, std::move(memory),
                                      DeviceSink::Device{*device, budget.arena, std::move(staging)});
}

Weights run_plan(const LoadPlan& plan, const MaterializeOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const PlanEntries& entries = PlanAccess::entries(plan);
  const std::shared_ptr<const Schedule> schedule = PlanAccess::schedule(plan);
  const Budget budget = affordable_budget(plan, options);
  HostDestination host;
  AllocatedDestination destination(options.destination ? *options.destination : host, budget.arena->size_bytes,
                                   options.alignment);
  LoadMonitor monitor(options, schedule->sizes.written);
  const std::unique_ptr<ChunkSink> sink =
      make_sink(*schedule, budget, monitor,
                entry_memory(entries, *budget.arena, destination.data(), !options.destination, schedule->sizes.written),
                destination.is_device() ? options.destination.get() : nullptr);
  Pipeline pipeline({plan, *schedule, budget, options, *sink, monitor});
  const double plan_seconds = seconds_since(begin);
  LoadStats stats = pipeline.run();
  const std::shared_ptr<const void> owner = destination.finish();
  stats.arena_bytes = budget.arena->size_bytes;
  stats.plan_seconds = plan_seconds;
  std::vector<Tensor> tensors = tensors_of(entries, *budget.arena, destination, owner);
  stats.seconds = seconds_since(begin);
  return WeightsAccess::make(std::move(tensors), PlanAccess::names(plan), std::move(stats));
}

}  // namespace

}  // namespace engine

Weights materialize(const LoadPlan& plan, const MaterializeOptions& options) {
  try {
    return engine::run_plan(plan, options);
  } catch (const Error& error) {
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
