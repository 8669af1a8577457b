// The schedule that a plan is compiled to: cut at places that suit pages, whatever the tensors' sizes, once, and with
// memory to match.
#include "materialize/schedule.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <string>

#include "heft/checkpoint.hpp"
#include "heft/materialize.hpp"
#include "heft/plan.hpp"
#include "materialize/budget.hpp"
#include "materialize/plan_state.hpp"
#include "mmap/pages.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace heft;

constexpr std::uint64_t kib = 1u << 10;
constexpr std::uint64_t mib = 1u << 20;
constexpr std::uint64_t huge_page = 2 * mib;

// 40 MB in tensors whose ends suit nothing.
std::string ragged_model() {
  test::SafetensorsBuilder file;
  const std::string values = test::pattern(666'666);
  for (int i = 0; i < 60; ++i) file.add("w" + std::to_string(i), "BF16", {333'333}, values);
  return file.build();
}

LoadPlan plan_of(const Checkpoint& checkpoint, DType dtype) {
  LoadPlan plan;
  for (const TensorView& view : checkpoint.tensors()) plan.add(view, dtype);
  return plan;
}

struct Compiled {
  test::TempFolder folder;
  Checkpoint checkpoint = open(folder.write("model.safetensors", ragged_model()));
  std::shared_ptr<const engine::Schedule> schedule;

  explicit Compiled(DType dtype) : schedule(engine::PlanAccess::schedule(plan_of(checkpoint, dtype))) {}
};

// A model of one tensor of 168 KiB.
Checkpoint one_layer(const test::TempFolder& folder) {
  test::SafetensorsBuilder file;
  file.add("layer", "BF16", {336, 256}, test::pattern(168 * kib));
  return open(folder.write("layer.safetensors", file.build()));
}

}  // namespace

TEST_CASE("schedule: no chunk reaches past a multiple of its size, though tensors do, and every byte is in one") {
  for (const DType dtype : {DType::bf16, DType::f32}) {
    const Compiled compiled(dtype);
    const engine::ChunkSizes sizes;
    const std::uint64_t size = dtype == DType::bf16 ? sizes.contiguous : sizes.converted;
    std::uint64_t end = compiled.schedule->chunks.front().range.begin;
    for (const engine::Chunk& chunk : compiled.schedule->chunks) {
      CHECK(chunk.range.begin == end);
      CHECK(chunk.range.begin / size == (chunk.range.end - 1) / size);
      end = chunk.range.end;
    }
    CHECK(end == compiled.checkpoint.shards()[0].size_bytes);
  }
}

TEST_CASE("schedule: batches end with huge pages of the file, and are neither large nor many") {
  for (const DType dtype : {DType::bf16, DType::f32, DType::f64}) {  // up to twice as heavy as what is read
    const Compiled compiled(dtype);
    const engine::Schedule& schedule = *compiled.schedule;
    for (const engine::Batch& batch : schedule.batches) {
      const engine::Range range = engine::range_of(schedule.chunks_of(batch));
      if (engine::position(batch.last) != schedule.chunks.size()) CHECK(range.end % huge_page == 0);
      CHECK(range.size() <= engine::ChunkSizes{}.batch);
      CHECK(range.size() <= schedule.sizes.max_batch);
    }
    CHECK(schedule.batches.size() >= 6);
    CHECK(schedule.batches.size() <= 20);
  }
}

TEST_CASE("schedule: a plan is compiled once, for its copies too, and again when something was added") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", ragged_model()));
  LoadPlan plan = plan_of(checkpoint, DType::f32);
  const std::shared_ptr<const engine::Schedule> first = engine::PlanAccess::schedule(plan);
  const LoadEstimate before = plan.estimate();
  CHECK(engine::PlanAccess::schedule(plan) == first);
  LoadPlan copy = plan;
  CHECK(engine::PlanAccess::schedule(copy) == first);
  copy.add(one_layer(folder).tensor("layer"));
  CHECK(engine::PlanAccess::schedule(copy) != first);
  CHECK(copy.estimate().bytes_written == before.bytes_written + 168 * kib);
  CHECK(copy.estimate().bytes_read == before.bytes_read + 168 * kib);
  // The schedule that was made before, and the plan that it was made of, are as they were.
  CHECK(engine::PlanAccess::schedule(plan) == first);
  CHECK(plan.estimate().bytes_written == before.bytes_written);
  CHECK(first->transfers->transfers.size() == checkpoint.tensors().size());
}

TEST_CASE("schedule: a schedule in use keeps the transfers it was compiled from when the plan grows") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = one_layer(folder);
  LoadPlan plan;
  plan.add(checkpoint.tensor("layer"));
  const std::shared_ptr<const engine::Schedule> held = engine::PlanAccess::schedule(plan);
  plan.add(checkpoint.tensor("layer").renamed("again"), DType::f32);
  CHECK(held->transfers->transfers.size() == 1);
  CHECK(engine::PlanAccess::schedule(plan)->transfers->transfers.size() == 2);
}

TEST_CASE("schedule: a layer of 168 KiB is estimated at its size and what one thread stages for it") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = one_layer(folder);
  LoadPlan plan;
  plan.add(checkpoint.tensor("layer"));
  CHECK(plan.estimate({.io_method = IoMethod::read}).host_bytes < (168 + 96) * kib);  // read to where it belongs
  // The buffer of a direct read is in whole pages, and begins on one; margins on both sides.
  const std::uint64_t rounding = 2 * mmap::page_size();
  CHECK(plan.estimate({.io_method = IoMethod::direct}).host_bytes < (2 * 168 + 128 + 96) * kib + rounding);
  CHECK(plan.estimate().host_bytes == plan.estimate({.io_method = IoMethod::direct}).host_bytes);
  LoadPlan converted;
  converted.add(checkpoint.tensor("layer"), DType::f32);
  // one buffer beside the result, each in whole pages
  CHECK(converted.estimate({.io_method = IoMethod::read}).host_bytes < (3 * 168 + 96) * kib + rounding);
  for (const IoMethod path : {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read}) {
    const Weights weights = materialize(converted, {.io_method = path});
    const LoadStats& stats = weights.stats();
    CHECK(stats.threads == 1);
    CHECK(stats.arena_bytes + stats.peak_staging_bytes <= converted.estimate({.io_method = path}).host_bytes);
    CHECK(stats.bytes_read == converted.estimate().bytes_read);
  }
}

TEST_CASE("schedule: an estimate grows with threads and staging where the load is large enough to use them") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", ragged_model()));
  const LoadPlan plan = plan_of(checkpoint, DType::f32);
  const auto host_bytes = [&](unsigned threads, std::uint64_t staging) {
    return plan.estimate({.threads = threads, .io_method = IoMethod::direct, .staging_bytes = staging}).host_bytes;
  };
  CHECK(host_bytes(1, 4 * mib) < host_bytes(1, 16 * mib));
  CHECK(host_bytes(1, 4 * mib) < host_bytes(4, 4 * mib));
  CHECK(host_bytes(1, 4 * mib) < plan.estimate().bytes_written + 12 * mib);
}
