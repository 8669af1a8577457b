#include "heft/destination.hpp"

#include <doctest/doctest.h>

#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "materialize/budget.hpp"
#include "materialize/transfer.hpp"
#include "support/destinations.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;
using test::DeviceDestination;
using test::NearDestination;

constexpr IoMethod every_path[] = {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read};

// 13 MB: large tensors, small ones, odd sizes.
std::string model() {
  test::SafetensorsBuilder file;
  for (int i = 0; i < 3; ++i)
    file.add("large." + std::to_string(i), "BF16", {1024, 2048},
             test::pattern(4u << 20, static_cast<std::uint32_t>(i + 1)));
  for (int i = 0; i < 700; ++i)
    file.add("small." + std::to_string(i), "F16", {11, 37}, test::pattern(11 * 37 * 2, static_cast<std::uint32_t>(i)));
  file.add("none", "F32", {0, 3}, "");
  return file.build();
}

LoadPlan plan_of(const Checkpoint& checkpoint) {
  LoadPlan plan;
  for (const TensorView& view : checkpoint.tensors()) plan.add(view);
  return plan;
}

// What a plan can ask for besides whole tensors.
LoadPlan shaped_plan(const Checkpoint& checkpoint) {
  const TensorView wide = checkpoint.tensor("large.1");
  const std::vector<TensorView> both = {wide, checkpoint.tensor("large.2")};
  LoadPlan plan;
  plan.add(checkpoint.tensor("large.0"), DType::f32);
  plan.add(wide.transpose(0, 1).renamed("turned"));
  plan.add(wide.transpose(0, 1).renamed("turned f32"), DType::f32);
  plan.add(wide.shard(1, 3, 8).renamed("columns"));
  plan.add(concat("side by side", both, 1));
  plan.add(stack("between", both, 2));
  plan.add(wide.renamed("tied"));
  return plan;
}

// The same tensors as a load into heft's own memory gives.
void check_same(const LoadPlan& plan, const DeviceDestination& destination, const Weights& far) {
  const Weights near = materialize(plan);
  REQUIRE(far.size() == near.size());
  for (const Tensor& tensor : far) {
    INFO(tensor.name());
    const Tensor& expected = near[tensor.name()];
    CHECK(tensor.bytes().empty());
    CHECK(tensor.size_bytes() == expected.size_bytes());
    CHECK(tensor.shape() == expected.shape());
    REQUIRE(tensor.device_offset().has_value());
    CHECK(std::ranges::equal(destination.bytes_written_once(*tensor.device_offset(), tensor.size_bytes()),
                             expected.bytes()));
  }
  CHECK(destination.bytes_written() == plan.estimate().bytes_written);
}

}  // namespace

TEST_CASE(
    "destination: device memory gets each byte of a tensor once, on every path, whatever happens to it on the way") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  for (const LoadPlan& plan : {plan_of(checkpoint), shaped_plan(checkpoint)})
    for (const IoMethod path : every_path)
      for (const unsigned threads : {1u, 3u}) {
        INFO("path ", name(path), " threads ", threads);
        const auto destination = std::make_shared<DeviceDestination>();
        const Weights weights = materialize(plan, {.threads = threads, .io_method = path, .destination = destination});
        check_same(plan, *destination, weights);
        CHECK(destination->allocated == 1);
        CHECK(destination->finished == 1);
        CHECK(destination->abandoned == 0);
        CHECK(weights.stats().bytes_read == plan.estimate().bytes_read);
        CHECK(weights.stats().bytes_written == plan.estimate().bytes_written);
      }
}

TEST_CASE("destination: nothing is copied from a mapping while a slot is waited for") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const LoadPlan plan = plan_of(checkpoint);
  const Weights weights =
      materialize(plan, {.io_method = IoMethod::map, .destination = std::make_shared<DeviceDestination>()});
  REQUIRE(weights.stats().io_uses.size() == 1);
  CHECK(weights.stats().io_uses[0].method == IoMethod::read);
  CHECK(weights.stats().io_uses[0].reason == IoReason::device_destination);
  CHECK(weights.stats().fallbacks > 0);
}

TEST_CASE("destination: bytes that follow each other come together") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  LoadPlan plan;
  for (int i = 0; i < 3; ++i) plan.add(checkpoint.tensor("large." + std::to_string(i)));
  for (const IoMethod path : every_path) {
    INFO("path ", name(path));
    const auto destination = std::make_shared<DeviceDestination>();
    (void)materialize(plan, {.threads = 1, .io_method = path, .destination = destination});
    CHECK(destination->max_write_bytes() >= 1u << 20);
    CHECK(destination->written <= 3 * 8);
  }
}

TEST_CASE("destination: tensors with a buffer of the caller's land there beside those in device memory") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const TensorView mine = checkpoint.tensor("large.1");
  for (const IoMethod path : every_path) {
    std::vector<std::byte> packed(mine.size_bytes());
    std::vector<std::byte> wide(2 * mine.size_bytes());
    LoadPlan plan;
    plan.add(checkpoint.tensor("large.0"));
    plan.add(mine, DType::bf16, packed);
    plan.add(mine.renamed("wide"), DType::f32, wide);
    plan.add(mine.renamed("far"), DType::f32);
    plan.add(checkpoint.tensor("small.3"));
    const auto destination = std::make_shared<DeviceDestination>();
    const Weights weights = materialize(plan, {.threads = 2, .io_method = path, .destination = destination});
    const Bytes stored = mine.bytes();
    CHECK(std::ranges::equal(packed, stored.span()));
    CHECK(weights["large.1"].bytes().data() == packed.data());
    CHECK_FALSE(weights["large.1"].device_offset().has_value());
    CHECK(std::ranges::equal(destination->bytes_written_once(*weights["far"].device_offset(), wide.size()), wide));
    CHECK(destination->bytes_written() == plan.estimate().bytes_written - packed.size() - wide.size());
  }
}

TEST_CASE("destination: one that is slow to let go holds the load back and nothing more") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  for (const LoadPlan& plan : {plan_of(checkpoint), shaped_plan(checkpoint)})
    for (const IoMethod path : every_path) {
      INFO("path ", name(path));
      // Two threads have four slots at least.
      const auto destination = std::make_shared<DeviceDestination>(3);
      const MaterializeOptions options{
          .threads = 2, .io_method = path, .staging_bytes = 1u << 20, .destination = destination};
      const Weights weights = materialize(plan, options);
      check_same(plan, *destination, weights);
      CHECK(weights.stats().peak_staging_bytes <= plan.estimate(options).host_bytes);
    }
}

TEST_CASE("destination: what it throws, whenever it throws, fails the load, and it hears of that once") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const LoadPlan plan = plan_of(checkpoint);
  const auto fail = [](const char* why) { return [why] { throw std::runtime_error(why); }; };
  const auto load_into = [&](const std::shared_ptr<Destination>& destination, IoMethod path) {
    CHECK_THROWS_AS((void)materialize(plan, {.threads = 3, .io_method = path, .destination = destination}),
                    std::runtime_error);
  };
  for (const IoMethod path : every_path)
    for (const bool far : {false, true}) {
      INFO("path ", name(path), " far ", far);
      const auto make = [&]() -> std::shared_ptr<test::WatchedDestination> {
        if (far) return std::make_shared<DeviceDestination>();
        return std::make_shared<NearDestination>();
      };
      const auto early = make();
      early->on_allocate = fail("no room");
      load_into(early, path);
      CHECK(early->finished + early->abandoned == 0);
      const auto late = make();
      late->on_finish = fail("not yet");
      load_into(late, path);
      CHECK(late->finished == 1);
      CHECK(late->abandoned == 0);
      if (!far) continue;
      for (const int after : {0, 5}) {
        const auto midway = make();
        midway->on_write = [&, left = after]() mutable {
          if (left-- <= 0) throw std::runtime_error("no more");
        };
        load_into(midway, path);
        CHECK(midway->finished == 0);
        CHECK(midway->abandoned == 1);
      }
    }
}

TEST_CASE("destination: a stop request ends a load that waits for slots") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const LoadPlan plan = plan_of(checkpoint);
  for (const IoMethod path : every_path) {
    INFO("path ", name(path));
    const auto destination = std::make_shared<DeviceDestination>(1000);
    std::stop_source stop;
    const MaterializeOptions options{.threads = 2,
                                     .stop = stop.get_token(),
                                     .io_method = path,
                                     .staging_bytes = 1u << 20,
                                     .destination = destination};
    // The destination keeps every slot: once it has them all, no worker goes on until it is stopped.
    const int slots = static_cast<int>(engine::budget_for(plan, options).staging_buffers);
    std::counting_semaphore all_taken(0);
    destination->on_write = [&] {
      if (destination->written == slots) all_taken.release();
    };
    std::jthread stopping([&] {
      all_taken.acquire();
      stop.request_stop();
    });
    CHECK(test::thrown_by([&] { (void)materialize(plan, options); }).code() == ErrorCode::cancelled);
    CHECK(destination->finished == 0);
    CHECK(destination->abandoned == 1);
    all_taken.release();
    destination->release();
  }
}

TEST_CASE("destination: one that throws does not leave others waiting for slots") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const LoadPlan plan = plan_of(checkpoint);
  const auto destination = std::make_shared<DeviceDestination>(1000);
  destination->on_write = [calls = 0]() mutable {
    if (++calls == 4) throw std::runtime_error("full");
  };
  CHECK_THROWS_WITH_AS((void)materialize(plan, {.threads = 3, .staging_bytes = 1u << 20, .destination = destination}),
                       "full", std::runtime_error);
  CHECK(destination->abandoned == 1);
}

TEST_CASE("destination: memory that is too small or badly aligned is refused before a byte moves") {
  class Wrong final : public Destination {
   public:
    explicit Wrong(std::uint64_t missing, std::uint64_t shift) : missing_(missing), shift_(shift) {}
    std::span<std::byte> allocate(std::uint64_t size_bytes, std::uint64_t alignment) override {
      memory_.resize(size_bytes + 2 * alignment);
      const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
      return std::span(memory_).subspan((alignment - address % alignment) % alignment + shift_, size_bytes - missing_);
    }
    std::shared_ptr<const void> finish() override { return nullptr; }
    void abandon() noexcept override { ++abandoned; }
    int abandoned = 0;

   private:
    std::uint64_t missing_;
    std::uint64_t shift_;
    std::vector<std::byte> memory_;
  };
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const LoadPlan plan = plan_of(checkpoint);
  const auto small = std::make_shared<Wrong>(1, 0);
  CHECK(test::thrown_by([&] { (void)materialize(plan, {.destination = small}); }).code() == ErrorCode::out_of_range);
  CHECK(small->abandoned == 1);
  const auto askew = std::make_shared<Wrong>(0, 8);
  CHECK(test::thrown_by([&] { (void)materialize(plan, {.destination = askew}); }).code() == ErrorCode::misaligned);
  CHECK(askew->abandoned == 1);
}

TEST_CASE("destination: one that neither gives memory nor takes bytes is refused") {
  class Neither final : public Destination {
   public:
    std::span<std::byte> allocate(std::uint64_t, std::uint64_t) override { return {}; }
    std::shared_ptr<const void> finish() override { return nullptr; }
    void abandon() noexcept override {}
  };
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const LoadPlan plan = plan_of(checkpoint);
  CHECK(test::thrown_by([&] { (void)materialize(plan, {.destination = std::make_shared<Neither>()}); }).code() ==
        ErrorCode::unsupported);
}

TEST_CASE("destination: a tensor in device memory cannot be read here, and says so") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  LoadPlan plan;
  plan.add(checkpoint.tensor("large.0"));
  plan.add(checkpoint.tensor("none"));
  const auto destination = std::make_shared<DeviceDestination>();
  const Weights weights = materialize(plan, {.destination = destination});
  const Tensor& far = weights["large.0"];
  CHECK(far.owned_bytes().owner() == destination->memory);
  CHECK(test::thrown_by([&] { (void)far.span<bf16>(); }).code() == ErrorCode::unsupported);
  CHECK(test::thrown_by([&] { (void)far.slice<bf16>(); }).code() == ErrorCode::unsupported);
  CHECK(test::thrown_by([&] { (void)far.view(); }).code() == ErrorCode::unsupported);
}

TEST_CASE("destination: a plan of no bytes is finished without being allocated") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  LoadPlan plan;
  plan.add(checkpoint.tensor("none"));
  const auto destination = std::make_shared<DeviceDestination>();
  const Weights weights = materialize(plan, {.destination = destination});
  CHECK(weights["none"].span<float>().empty());
  CHECK(destination->allocated == 0);
  CHECK(destination->finished == 1);
}
