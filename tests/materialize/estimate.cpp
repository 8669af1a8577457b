// The estimate of a plan equals the counts of its load, exactly.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/materialize.hpp"
#include "mixed_tensors.hpp"
#include "support/destinations.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace heft;
using test::DeviceDestination;
using test::HostDestination;

constexpr std::uint64_t kib = 1024;
constexpr IoMethod every_method[] = {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read};

// Large tensors, small ones of odd sizes, an empty one, and one of 168 KiB.
std::string model() {
  test::SafetensorsBuilder file;
  test::add_mixed_tensors(file, 300);
  file.add("layer", "BF16", {84, 1024}, test::pattern(168 * kib));
  return file.build();
}

struct Plans {
  test::TempFolder folder;
  Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  std::vector<float> buffer = std::vector<float>(1024 * 2048);
  std::vector<std::pair<std::string, LoadPlan>> all;

  Plans() {
    LoadPlan& whole = named("whole");
    for (const TensorView& view : checkpoint.tensors()) whole.add(view);
    LoadPlan& converted = named("converted");
    for (const TensorView& view : checkpoint.tensors()) converted.add(view, DType::f32);
    LoadPlan& turned = named("transposed");
    turned.add(checkpoint.tensor("large.0").transpose(0, 1));
    turned.add(checkpoint.tensor("large.1").shard(1, 3, 8), DType::f32);
    named("layer").add(checkpoint.tensor("layer"));
    named("empty").add(checkpoint.tensor("none"));
    LoadPlan& mine = named("buffers of the caller");
    mine.add(checkpoint.tensor("large.0"), DType::f32, bytes());
    LoadPlan& mixed = named("some buffers of the caller");
    mixed.add(checkpoint.tensor("large.0"), DType::f32, bytes());
    mixed.add(checkpoint.tensor("large.1"));
    named("nothing");
  }

 private:
  LoadPlan& named(const char* name) { return all.emplace_back(name, LoadPlan()).second; }
  std::span<std::byte> bytes() { return std::as_writable_bytes(std::span(buffer)); }
};

Destination::Requirements device_requirements(std::uint64_t alignment, bool strided) {
  return {.kind = Destination::Kind::device, .alignment = alignment, .strided_writes = strided};
}

}  // namespace

TEST_CASE("estimate: equals what the load counts, for each plan, method, destination and number of threads") {
  const Plans plans;
  for (const auto& [what, plan] : plans.all)
    for (const IoMethod method : every_method)
      for (const unsigned threads : {1u, 2u, 4u})
        for (const int kind : {0, 1, 2, 3}) {
          const std::uint64_t staging = threads == 1 ? 1u << 20 : 16u << 20;
          INFO(what, ", ", name(method), ", threads ", threads, ", staging ", staging, ", destination ", kind);
          std::shared_ptr<test::WatchedDestination> destination;
          if (kind == 1) destination = std::make_shared<HostDestination>();
          if (kind == 2) destination = std::make_shared<DeviceDestination>(0, device_requirements(256, false));
          if (kind == 3) destination = std::make_shared<DeviceDestination>(1, device_requirements(8, true));
          const MaterializeOptions options{.threads = threads,
                                           .io_method = method,
                                           .staging_bytes = staging,
                                           .drop_page_cache = threads == 2,
                                           .destination = destination};
          const LoadEstimate estimate = plan.estimate(options);
          const Weights weights = materialize(plan, options);
          const LoadStats& stats = weights.stats();
          CHECK(stats.bytes_read == estimate.bytes_read);
          CHECK(stats.bytes_written == estimate.bytes_written);
          CHECK(stats.host_bytes == estimate.host_bytes);
          CHECK(stats.device_bytes == estimate.device_bytes);
          CHECK(estimate.device_bytes == (destination ? destination->allocated_bytes.load() : 0));
          CHECK(stats.arena_bytes + stats.peak_staging_bytes <= stats.host_bytes);
        }
}

TEST_CASE("estimate: the destination is asked once, however often a plan is estimated and loaded") {
  const Plans plans;
  const LoadPlan& plan = plans.all.front().second;
  const auto device = std::make_shared<DeviceDestination>();
  const MaterializeOptions options{.destination = device};
  const LoadEstimate first = plan.estimate(options);
  for (int i = 0; i < 10; ++i) CHECK(plan.estimate(options).host_bytes == first.host_bytes);
  (void)materialize(plan, options);
  CHECK(device->sized == 1);
  LoadPlan more = plan;
  CHECK(more.estimate(options).device_bytes == first.device_bytes);
  CHECK(device->sized == 1);
  more.add(plans.checkpoint.tensor("layer").renamed("again"));
  CHECK(more.estimate(options).device_bytes >= first.device_bytes + 168 * kib);
  CHECK(device->sized == 2);
}

TEST_CASE("estimate: another destination is asked, also one at the address of the last") {
  const Plans plans;
  const LoadPlan& plan = plans.all.front().second;
  std::uint64_t last = 0;
  for (const std::uint64_t alignment : {64u, 4096u, 8u}) {
    const auto device = std::make_shared<DeviceDestination>(0, device_requirements(alignment, false));
    const std::uint64_t bytes = plan.estimate({.alignment = 1, .destination = device}).device_bytes;
    CHECK(device->sized == 1);
    CHECK(bytes != last);
    last = bytes;
  }
}

TEST_CASE("estimate: a device takes staging of the host, and heft's arena only without it") {
  const Plans plans;
  const LoadPlan& plan = plans.all.front().second;
  const auto device = std::make_shared<DeviceDestination>();
  const LoadEstimate on_host = plan.estimate({.threads = 2});
  const LoadEstimate on_device = plan.estimate({.threads = 2, .destination = device});
  CHECK(on_host.device_bytes == 0);
  CHECK(on_host.host_bytes > on_host.bytes_written);
  CHECK(on_device.device_bytes >= on_device.bytes_written);
  (void)materialize(plan, {.threads = 2, .destination = device});
  CHECK(device->staged_bytes > 0);
  CHECK(device->staged_bytes <= on_device.host_bytes);
}

TEST_CASE("estimate: a layer of 168 KiB on a device takes what one thread stages of it") {
  const Plans plans;
  LoadPlan plan;
  plan.add(plans.checkpoint.tensor("layer"));
  const auto device = std::make_shared<DeviceDestination>();
  const LoadEstimate estimate = plan.estimate({.threads = 4, .io_method = IoMethod::read, .destination = device});
  CHECK(estimate.device_bytes == 168 * kib);
  // Four buffers at most, each with the margins of direct reads, and tables.
  CHECK(estimate.host_bytes < (4 * (168 + 128) + 96) * kib);
}
