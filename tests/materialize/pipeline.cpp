// The stages of a load, each alone: sinks, staging, the monitor, the choice of paths.
#include "materialize/pipeline.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/materialize.hpp"
#include "heft/plan.hpp"
#include "materialize/io/path_selector.hpp"
#include "materialize/load_budget.hpp"
#include "materialize/memory/arena_destination.hpp"
#include "materialize/memory/read_ring.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/sink/device_sink.hpp"
#include "materialize/sink/host_sink.hpp"
#include "support/destinations.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;

constexpr std::uint64_t buffer_bytes = 64u << 10;

// Device memory that keeps the last write.
class Device final : public Allocation {
 public:
  [[nodiscard]] std::span<const Placement> placements() const noexcept override { return {}; }
  void write_async(const WriteRequest& request, Completion completion) override {
    last = request;
    completion.succeed();
  }
  [[nodiscard]] std::shared_ptr<const void> finish() override { return nullptr; }

  WriteRequest last;
};

// A small model as it is, converted and transposed: a chunk of each kind.
struct Model {
  test::TempFolder folder;
  Checkpoint checkpoint;
  LoadPlan plan;
  std::shared_ptr<const engine::Schedule> schedule;
  std::vector<TensorSpec> specs;

  Model() : checkpoint(open(folder.write("model.safetensors", file()))) {
    plan.add(checkpoint.tensor("same"));
    plan.add(checkpoint.tensor("wider"), DType::f32);
    plan.add(checkpoint.tensor("turned").transpose(0, 1));
    schedule = engine::PlanAccess::schedule(plan);
    specs = engine::specs_for(plan, {}, {});
  }

  static std::string file() {
    test::SafetensorsBuilder builder;
    builder.add("same", "BF16", {80, 100}, test::pattern(16'000));
    builder.add("wider", "BF16", {80, 100}, test::pattern(16'000));
    builder.add("turned", "BF16", {80, 100}, test::pattern(16'000));
    return builder.build();
  }

  // The entries in the host's memory.
  [[nodiscard]] static std::vector<engine::EntryMemory> entries(const Allocation& allocation) {
    std::vector<engine::EntryMemory> memory;
    for (const Placement& place : allocation.placements())
      memory.push_back({static_cast<std::byte*>(place.data) + place.byte_offset, engine::Store::cached});
    return memory;
  }
  // The same in a device's.
  [[nodiscard]] std::vector<engine::EntryMemory> no_entries() const {
    return std::vector<engine::EntryMemory>(specs.size());
  }

  [[nodiscard]] std::vector<engine::DeviceSink::Entry> on_device(std::span<const Placement> places) const {
    std::vector<engine::DeviceSink::Entry> entries;
    for (std::size_t i = 0; i < specs.size(); ++i) entries.push_back({places[i], specs[i].size_bytes});
    return entries;
  }

  void write_all(engine::ChunkSink& sink) const {
    for (const engine::Chunk& chunk : schedule->chunks)
      sink.write(chunk, chunk.range, schedule->source(chunk.source).mapped().data() + chunk.range.begin);
  }
};

}  // namespace

TEST_CASE("pipeline: both sinks write each kind of chunk to the same bytes, which are those of a load") {
  const Model model;
  const MaterializeOptions options;
  engine::LoadMonitor monitor(options, 0);
  const auto host = engine::ArenaDestination().allocate(model.specs);
  engine::HostSink host_sink(*model.schedule, monitor, Model::entries(*host));
  model.write_all(host_sink);
  const test::DeviceDestination destination;
  const auto device = destination.allocate(model.specs);
  engine::StagingPool staging(destination.staging(2 * buffer_bytes), buffer_bytes, 2);
  const std::span<const Placement> places = device->placements();
  engine::DeviceSink device_sink(*model.schedule, monitor, model.no_entries(),
                                 {*device, destination.requirements(), model.on_device(places), staging});
  model.write_all(device_sink);
  CHECK(monitor.stats().bytes_written == 2 * model.schedule->sizes.written);
  const Weights loaded = materialize(model.plan);
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    const std::span<const std::byte> expected = loaded.begin()[static_cast<std::ptrdiff_t>(i)].bytes();
    const Placement& place = host->placements()[i];
    CHECK(std::memcmp(static_cast<std::byte*>(place.data) + place.byte_offset, expected.data(), expected.size()) == 0);
    CHECK(std::ranges::equal(destination.bytes_written_once(places[i], expected.size()), expected));
  }
}

TEST_CASE("pipeline: a staging buffer goes to the device as it is, and is lent again when the write is reported") {
  const Model model;
  const MaterializeOptions options;
  engine::LoadMonitor monitor(options, 0);
  Device device;
  const test::DeviceDestination destination;
  engine::StagingPool pool(destination.staging(buffer_bytes), buffer_bytes, 1);
  engine::DeviceSink sink(
      *model.schedule, monitor, model.no_entries(),
      {device, destination.requirements(), model.on_device(std::vector<Placement>(model.specs.size())), pool});
  const engine::Chunk& chunk = model.schedule->chunks.front();
  REQUIRE(chunk.contiguous);
  CHECK(sink.in_place_run(chunk, chunk.range.begin).to == nullptr);
  {
    const engine::StagingBuffer buffer = pool.take();
    CHECK(pool.try_take() == nullptr);
    std::memcpy(buffer.get(), model.schedule->source(chunk.source).mapped().data() + chunk.range.begin,
                chunk.range.size());
    sink.forward(chunk, chunk.range, buffer.get(), buffer);
    CHECK(device.last.staged.data() == buffer.get());
    CHECK(device.last.staged.size() == chunk.range.size());
  }
  CHECK(monitor.stats().bytes_written == chunk.range.size());
  CHECK(pool.peak_bytes() == buffer_bytes);
  pool.await_all();
  const engine::StagingBuffer again = pool.take();
  pool.close();
  CHECK(test::thrown_by([&] { static_cast<void>(pool.take()); }).code() == ErrorCode::cancelled);
}

TEST_CASE("pipeline: a ring lends pieces that do not overlap, and none while older ones are in the way") {
  engine::ReadRing ring(engine::Arena::allocate(64u << 10, 64));
  const std::uint64_t size = ring.size_bytes();
  const auto first = ring.take(size / 2);
  const auto second = ring.take(size / 4);
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->memory == ring.memory().data());
  CHECK(second->memory == first->memory + size / 2);
  CHECK(ring.used_bytes() == size * 3 / 4);
  // Neither the rest of the memory nor its start has room for a half.
  CHECK_FALSE(ring.take(size / 2));
  ring.release(first->end);
  const auto third = ring.take(size / 2);
  REQUIRE(third);
  CHECK(third->memory == ring.memory().data());
  // The quarter that was left out at the end is in use until the pieces before it are released.
  CHECK(ring.used_bytes() == size);
  CHECK_FALSE(ring.take(1));
  ring.release(second->end);
  ring.release(third->end);
  CHECK(ring.used_bytes() == 0);
  const auto whole = ring.take(size);
  REQUIRE(whole);
  CHECK(whole->memory == ring.memory().data());
}

TEST_CASE("pipeline: staging memory that is too small or starts inside a page is refused") {
  alignas(65536) static std::byte memory[2 * 65536];
  const auto code = [](std::span<std::byte> bytes) {
    return test::thrown_by([&] { engine::StagingPool({bytes, nullptr}, buffer_bytes, 1); }).code();
  };
  CHECK(code(std::span(memory).first(buffer_bytes - 1)) == ErrorCode::out_of_memory);
  CHECK(code(std::span(memory).subspan(64)) == ErrorCode::misaligned);
}

TEST_CASE("pipeline: a run in place ends where the parts of the source or of the memory do") {
  const Model model;
  const MaterializeOptions options;
  engine::LoadMonitor monitor(options, 0);
  const auto host = engine::ArenaDestination().allocate(model.specs);
  const engine::HostSink sink(*model.schedule, monitor, Model::entries(*host));
  const auto* const first = static_cast<std::byte*>(host->placements()[0].data);
  const engine::Chunk& chunk = model.schedule->chunks.front();
  const engine::InPlaceRun whole = sink.in_place_run(chunk, chunk.range.begin);
  CHECK(whole.to == first);
  CHECK(whole.size == 16'000);
  const engine::InPlaceRun rest = sink.in_place_run(chunk, chunk.range.begin + 100);
  CHECK(rest.to == first + 100);
  CHECK(rest.size == 15'900);
}

TEST_CASE("pipeline: the monitor keeps the first failure, counts bytes, and stops on request") {
  std::stop_source stop;
  std::vector<std::uint64_t> reports;
  MaterializeOptions options;
  options.stop = stop.get_token();
  options.progress = [&](const Progress& progress) { reports.push_back(progress.bytes_done); };
  engine::LoadMonitor monitor(options, 300);
  monitor.check_stop();
  monitor.advance(100);
  monitor.advance(200);
  monitor.report_now();
  CHECK(reports.back() == 300);
  for (const char* what : {"first", "second"}) {
    CHECK(monitor.has_failed() == (std::string(what) == "second"));
    try {
      throw std::runtime_error(what);
    } catch (...) {
      monitor.fail();
    }
  }
  CHECK_THROWS_WITH_AS(monitor.rethrow(), "first", std::runtime_error);
  monitor.note("once");
  monitor.note("once");
  CHECK(monitor.stats().notes.size() == 1);
  stop.request_stop();
  CHECK(test::thrown_by([&] { monitor.check_stop(); }).code() == ErrorCode::cancelled);
}

TEST_CASE("pipeline: a path that was asked for is taken, and one that the source does not have is a fallback") {
  const Model model;
  const Checkpoint unmapped = open(model.folder.path() / "model.safetensors", {.access = Access::read});
  LoadPlan plan;
  plan.add(unmapped.tensor("same"));
  const auto schedule = engine::PlanAccess::schedule(plan);
  const MaterializeOptions options;
  engine::LoadMonitor monitor(options, 0);
  engine::SourceHandles sources(*schedule, monitor);
  std::vector<std::byte> host(16'000);
  engine::HostSink sink(*schedule, monitor, {{host.data(), engine::Store::cached}});
  LoadStats share;
  const engine::Batch& batch = schedule->batches.front();
  const auto selected = [&](IoMethod asked) {
    engine::PathSelector selector({*schedule, sources, sink, monitor}, asked, share);
    const engine::Selected chosen = selector.choose(batch);
    return std::pair(chosen.method, chosen.reason);
  };
  CHECK(selected(IoMethod::read) == std::pair(IoMethod::read, IoReason::asked));
  CHECK(share.fallbacks == 0);
  CHECK(selected(IoMethod::map) == std::pair(IoMethod::read, IoReason::access_read));
  CHECK(share.fallbacks == 1);
  CHECK(selected(IoMethod::automatic).first != IoMethod::map);
}
