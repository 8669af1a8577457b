// The stages of a load, each alone: sinks, staging, the monitor, the choice of paths.
#include "materialize/pipeline.hpp"

#include <doctest/doctest.h>

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
#include "materialize/plan_state.hpp"
#include "materialize/sink/device_sink.hpp"
#include "materialize/sink/host_sink.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;

constexpr std::uint64_t buffer_bytes = 64u << 10;

// Device memory that takes what is written at once.
class Device final : public Destination {
 public:
  explicit Device(std::size_t size) : memory(size) {}
  std::span<std::byte> allocate(std::uint64_t, std::uint64_t) override { return {}; }
  void write(std::uint64_t offset, Bytes staged) override {
    REQUIRE(offset + staged.size_bytes() <= memory.size());
    std::memcpy(memory.data() + offset, staged.span().data(), staged.size_bytes());
    last = staged.span();
  }
  std::shared_ptr<const void> finish() override { return nullptr; }
  void abandon() noexcept override {}

  std::vector<std::byte> memory;
  std::span<const std::byte> last;  // written
};

// A small model as it is, converted and transposed: a chunk of each kind.
struct Model {
  test::TempFolder folder;
  Checkpoint checkpoint;
  LoadPlan plan;
  std::shared_ptr<const engine::Schedule> schedule;
  std::shared_ptr<const engine::ArenaLayout> layout;

  Model() : checkpoint(open(folder.write("model.safetensors", file()))) {
    plan.add(checkpoint.tensor("same"));
    plan.add(checkpoint.tensor("wider"), DType::f32);
    plan.add(checkpoint.tensor("turned").transpose(0, 1));
    schedule = engine::PlanAccess::schedule(plan);
    layout = engine::PlanAccess::arena_layout(plan, 64);
  }

  static std::string file() {
    test::SafetensorsBuilder builder;
    builder.add("same", "BF16", {80, 100}, test::pattern(16'000));
    builder.add("wider", "BF16", {80, 100}, test::pattern(16'000));
    builder.add("turned", "BF16", {80, 100}, test::pattern(16'000));
    return builder.build();
  }

  // The entries in one run of memory; without one, in device memory.
  [[nodiscard]] std::vector<engine::EntryMemory> entries(std::byte* base) const {
    std::vector<engine::EntryMemory> memory;
    for (const std::uint64_t offset : layout->offsets)
      memory.push_back({base == nullptr ? nullptr : base + offset, engine::Store::cached});
    return memory;
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
  std::vector<std::byte> host(model.layout->size_bytes);
  engine::HostSink host_sink(*model.schedule, monitor, model.entries(host.data()));
  model.write_all(host_sink);
  Device device(model.layout->size_bytes);
  engine::DeviceSink device_sink(*model.schedule, monitor, model.entries(nullptr),
                                 {device, model.layout, engine::StagingPool::make(buffer_bytes, 2)});
  model.write_all(device_sink);
  CHECK(monitor.stats().bytes_written == 2 * model.schedule->sizes.written);
  CHECK(host == device.memory);
  const Weights loaded = materialize(model.plan);
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    const std::span<const std::byte> expected = loaded.begin()[static_cast<std::ptrdiff_t>(i)].bytes();
    CHECK(std::memcmp(host.data() + model.layout->offsets[i], expected.data(), expected.size()) == 0);
  }
}

TEST_CASE("pipeline: a staging buffer goes to the device as it is, and is lent again when the device lets go") {
  const Model model;
  const MaterializeOptions options;
  engine::LoadMonitor monitor(options, 0);
  Device device(model.layout->size_bytes);
  const auto pool = engine::StagingPool::make(buffer_bytes, 1);
  engine::DeviceSink sink(*model.schedule, monitor, model.entries(nullptr), {device, model.layout, pool});
  const engine::Chunk& chunk = model.schedule->chunks.front();
  REQUIRE(chunk.contiguous);
  CHECK(sink.in_place_run(chunk, chunk.range.begin).to == nullptr);
  {
    const engine::StagingBuffer buffer = pool->take();
    std::memcpy(buffer.get(), model.schedule->source(chunk.source).mapped().data() + chunk.range.begin,
                chunk.range.size());
    sink.forward(chunk, chunk.range, buffer.get(), buffer);
    CHECK(device.last.data() == buffer.get());
  }
  CHECK(monitor.stats().bytes_written == chunk.range.size());
  CHECK(pool->peak_bytes() == buffer_bytes);
  const engine::StagingBuffer again = pool->take();
  pool->close();
  CHECK(test::thrown_by([&] { static_cast<void>(pool->take()); }).code() == ErrorCode::cancelled);
}

TEST_CASE("pipeline: a run in place ends where the parts of the source or of the memory do") {
  const Model model;
  const MaterializeOptions options;
  engine::LoadMonitor monitor(options, 0);
  std::vector<std::byte> host(model.layout->size_bytes);
  const engine::HostSink sink(*model.schedule, monitor, model.entries(host.data()));
  const engine::Chunk& chunk = model.schedule->chunks.front();
  const engine::InPlaceRun whole = sink.in_place_run(chunk, chunk.range.begin);
  CHECK(whole.to == host.data());
  CHECK(whole.size == 16'000);
  const engine::InPlaceRun rest = sink.in_place_run(chunk, chunk.range.begin + 100);
  CHECK(rest.to == host.data() + 100);
  CHECK(rest.size == 15'900);
}

TEST_CASE("pipeline: the monitor keeps the first failure, counts, and stops when it is asked to") {
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
