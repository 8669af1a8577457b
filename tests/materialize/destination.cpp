#include "heft/destination.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "materialize/load_budget.hpp"
#include "mixed_tensors.hpp"
#include "support/destinations.hpp"
#include "support/safetensors_builder.hpp"
#include "support/same_bytes.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;
using test::DeviceDestination;
using test::HostDestination;
using Outcome = DeviceDestination::Outcome;

constexpr IoMethod every_method[] = {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read};

// 13 MB: large tensors, small ones, odd sizes.
std::string model() {
  test::SafetensorsBuilder file;
  test::add_mixed_tensors(file, 700);
  return file.build();
}

struct Model {
  test::TempFolder folder;
  Checkpoint checkpoint = open(folder.write("model.safetensors", model()));

  [[nodiscard]] LoadPlan whole() const {
    LoadPlan plan;
    for (const TensorView& view : checkpoint.tensors()) plan.add(view);
    return plan;
  }
  // The large tensors: 12 MiB in about as many writes.
  [[nodiscard]] LoadPlan large() const {
    LoadPlan plan;
    for (int i = 0; i < 3; ++i) plan.add(checkpoint.tensor("large." + std::to_string(i)));
    return plan;
  }
  // What a plan can ask for besides whole tensors.
  [[nodiscard]] LoadPlan shaped() const {
    const TensorView wide = checkpoint.tensor("large.1");
    const std::vector<TensorView> both = {wide, checkpoint.tensor("large.2")};
    LoadPlan plan;
    plan.add(checkpoint.tensor("large.0"), DType::f32);
    plan.add(wide.transpose(0, 1).renamed("turned"));
    plan.add(wide.transpose(0, 1).renamed("turned f32"), DType::f32);
    plan.add(wide.shard(1, 3, 8).renamed("columns"));
    plan.add(concat("side by side", both, 1));
    // Each element is a write of its own, unless the device takes rows: a few rows are enough of them.
    const std::vector<TensorView> few = {both[0].slice(0, 0, 16), both[1].slice(0, 0, 16)};
    plan.add(stack("between", few, 2));
    plan.add(wide.renamed("tied"));
    return plan;
  }
};

// The same tensors as a load into heft's own memory gives.
void check_same(const LoadPlan& plan, const DeviceDestination& destination, const Weights& on_device) {
  const Weights expected = materialize(plan);
  REQUIRE(on_device.size() == expected.size());
  std::uint64_t bytes = 0;
  for (const Tensor& tensor : on_device) {
    INFO(tensor.name());
    const Tensor& same = expected[tensor.name()];
    CHECK(tensor.is_on_device());
    CHECK(tensor.bytes().empty());
    CHECK(tensor.size_bytes() == same.size_bytes());
    CHECK(tensor.shape() == same.shape());
    CHECK(tensor.placement().device_type == 2);
    CHECK(test::same_bytes(destination.bytes_written_once(tensor.placement(), tensor.size_bytes()), same.bytes()));
    bytes += tensor.size_bytes();
  }
  CHECK(destination.bytes_written() == bytes);
  CHECK(destination.broken_rules().empty());
}

// Reports what a device retains, on a thread of its own, until it is destroyed.
class Reporter {
 public:
  explicit Reporter(const DeviceDestination& device)
      : thread_([&device](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
            device.release();
            std::this_thread::yield();
          }
          device.release();
        }) {}

 private:
  std::jthread thread_;
};

}  // namespace

TEST_CASE("destination: a device gets each byte of a tensor once, on every path, whatever happens to it on the way") {
  const Model model;
  for (const LoadPlan& plan : {model.whole(), model.shaped()})
    for (const IoMethod method : every_method)
      for (const unsigned threads : {1u, 3u})
        for (const bool strided : {false, true}) {
          INFO("method ", name(method), " threads ", threads, " strided ", strided);
          const auto device = std::make_shared<DeviceDestination>(
              0, Destination::Requirements{.kind = Destination::Kind::device, .strided_writes = strided});
          const Weights weights = materialize(plan, {.threads = threads, .io_method = method, .destination = device});
          check_same(plan, *device, weights);
          CHECK(device->calls() == "staging allocate write finish destroy free");
          CHECK(device->allocated == 1);
          CHECK(device->given_up == 0);
          CHECK(weights.stats().bytes_read == plan.estimate().bytes_read);
          CHECK(weights.stats().bytes_written == plan.estimate().bytes_written);
        }
}

TEST_CASE("destination: nothing is copied from a mapping while a staging buffer is waited for") {
  const Model model;
  const Weights weights =
      materialize(model.whole(), {.io_method = IoMethod::map, .destination = std::make_shared<DeviceDestination>()});
  REQUIRE(weights.stats().io_uses.size() == 1);
  CHECK(weights.stats().io_uses[0].method == IoMethod::read);
  CHECK(weights.stats().io_uses[0].reason == IoReason::device_destination);
  CHECK(weights.stats().fallbacks > 0);
}

TEST_CASE("destination: bytes that follow each other come together") {
  const Model model;
  const LoadPlan plan = model.large();
  for (const IoMethod method : every_method) {
    INFO("method ", name(method));
    const auto device = std::make_shared<DeviceDestination>();
    (void)materialize(plan, {.threads = 1, .io_method = method, .destination = device});
    CHECK(device->max_write_bytes() >= 1u << 20);
    CHECK(device->written <= 3 * 8);
  }
}

TEST_CASE("destination: writes grow with the staging of a thread, up to 4 MiB and to what the device takes") {
  constexpr std::uint64_t mib = 1u << 20;
  constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();
  struct Case {
    std::uint64_t staging;
    unsigned threads;
    std::uint64_t max_write;
    std::uint64_t slice;  // expected
  };
  const Model model;
  const LoadPlan plan = model.large();
  for (const Case& each :
       {Case{1 * mib, 1, no_limit, mib}, Case{4 * mib, 1, no_limit, 2 * mib}, Case{6 * mib, 1, no_limit, 2 * mib},
        Case{16 * mib, 1, no_limit, 4 * mib}, Case{128 * mib, 1, no_limit, 4 * mib},
        Case{12 * mib, 3, no_limit, 2 * mib}, Case{16 * mib, 1, 3 * mib, 2 * mib}, Case{16 * mib, 1, 5000, mib}})
    for (const IoMethod method : every_method) {
      INFO("staging ", each.staging, " threads ", each.threads, " max write ", each.max_write, " ", name(method));
      const auto device = std::make_shared<DeviceDestination>(
          0, Destination::Requirements{.kind = Destination::Kind::device, .max_write_bytes = each.max_write});
      const MaterializeOptions options{
          .threads = each.threads, .io_method = method, .staging_bytes = each.staging, .destination = device};
      const LoadEstimate estimate = plan.estimate(options);
      const Weights weights = materialize(plan, options);
      check_same(plan, *device, weights);
      CHECK(weights.stats().host_bytes == estimate.host_bytes);
      // A buffer also has room for what direct reads add at both ends, which other methods fill with bytes to write.
      CHECK(device->max_write_bytes() >= std::min(each.slice, each.max_write));
      CHECK(device->max_write_bytes() <= std::min(each.slice + mib / 8, each.max_write));
      CHECK(device->staged_bytes <= std::max(2 * each.staging, 2 * each.threads * (each.slice + mib / 8)) + 2 * mib);
    }
}

TEST_CASE("destination: short tensors come together, with the gaps between them, up to the alignment") {
  const Model model;
  LoadPlan plan;
  for (int i = 0; i < 700; ++i) plan.add(model.checkpoint.tensor("small." + std::to_string(i)));
  for (const IoMethod method : every_method)
    for (const std::uint64_t alignment : {1u, 256u}) {
      INFO("method ", name(method), " alignment ", alignment);
      const auto device = std::make_shared<DeviceDestination>(
          0, Destination::Requirements{.kind = Destination::Kind::device, .alignment = alignment});
      const Weights weights =
          materialize(plan, {.threads = 1, .io_method = method, .alignment = 256, .destination = device});
      check_same(plan, *device, weights);
      // 700 tensors of 814 bytes lie 1024 bytes apart. A gap of 210 bytes is one for an alignment of 256 only.
      if (alignment == 256)
        CHECK(device->written <= 4);
      else
        CHECK(device->written == 700);
    }
}

TEST_CASE("destination: a write is never longer than the device takes, in rows or not") {
  const Model model;
  for (const std::uint64_t most : {100u, 5000u})
    for (const bool strided : {false, true}) {
      INFO("at most ", most, " strided ", strided);
      LoadPlan plan;
      plan.add(model.checkpoint.tensor("large.0").slice(0, 0, 50));
      plan.add(concat("side by side",
                      std::vector{model.checkpoint.tensor("small.1"), model.checkpoint.tensor("small.2")}, 1));
      const auto device = std::make_shared<DeviceDestination>(
          0, Destination::Requirements{
                 .kind = Destination::Kind::device, .max_write_bytes = most, .strided_writes = strided});
      const Weights weights = materialize(plan, {.destination = device});
      check_same(plan, *device, weights);
      CHECK(device->max_write_bytes() == most);
    }
}

TEST_CASE("destination: a device that takes rows gets a transposed or interleaved tensor in few writes") {
  const Model model;
  const LoadPlan plan = model.shaped();
  const auto writes = [&](bool strided) {
    const auto device = std::make_shared<DeviceDestination>(
        0, Destination::Requirements{.kind = Destination::Kind::device, .strided_writes = strided});
    check_same(plan, *device, materialize(plan, {.destination = device}));
    CHECK((device->max_rows() > 1) == strided);
    return device->written.load();
  };
  CHECK(100 * writes(true) < writes(false));
}

TEST_CASE("destination: tensors with a buffer of the caller's, with strides or not, are filled there") {
  const Model model;
  const TensorView mine = model.checkpoint.tensor("large.1");
  for (const IoMethod method : every_method)
    for (const bool on_device : {false, true}) {
      std::vector<std::byte> packed(mine.size_bytes());
      std::vector<std::byte> wide(2 * mine.size_bytes());
      std::vector<bf16> padded(1024 * 2050, bf16(0.5F));
      LoadPlan plan;
      plan.add(model.checkpoint.tensor("large.0"));
      plan.add(mine, DType::bf16, packed);
      plan.add(mine.renamed("wide"), DType::f32, wide);
      plan.add(mine.renamed("padded"), DType::bf16, std::as_writable_bytes(std::span(padded)), Strides{2050, 1});
      plan.add(mine.renamed("there"), DType::f32);
      plan.add(model.checkpoint.tensor("small.3"));
      const auto device = std::make_shared<DeviceDestination>();
      const auto host = std::make_shared<HostDestination>();
      const std::shared_ptr<const Destination> destination =
          on_device ? std::shared_ptr<const Destination>(device) : host;
      const Weights weights = materialize(plan, {.threads = 2, .io_method = method, .destination = destination});
      const Bytes stored = mine.bytes();
      CHECK(std::ranges::equal(packed, stored.span()));
      CHECK(weights["large.1"].bytes().data() == packed.data());
      CHECK(weights["large.1"].placement().data == packed.data());
      CHECK_FALSE(weights["large.1"].is_on_device());
      for (std::int64_t row = 0; row < 1024; row += 31) {
        const auto at = static_cast<std::size_t>(row * 2050);
        REQUIRE(std::memcmp(&padded[at], stored.span().data() + row * 4096, 4096) == 0);
        REQUIRE(padded[at + 2048] == bf16(0.5F));
        REQUIRE(padded[at + 2049] == bf16(0.5F));
      }
      if (!on_device) {
        CHECK(std::ranges::equal(weights["there"].bytes(), wide));
        continue;
      }
      CHECK(std::ranges::equal(device->bytes_written_once(weights["there"].placement(), wide.size()), wide));
      const std::uint64_t small = weights["small.3"].size_bytes();
      CHECK(device->bytes_written() == mine.size_bytes() + wide.size() + small);
    }
}

TEST_CASE("destination: a plan whose tensors all have buffers asks for its requirements only") {
  const Model model;
  const TensorView mine = model.checkpoint.tensor("large.1");
  std::vector<std::byte> packed(mine.size_bytes());
  LoadPlan plan;
  plan.add(mine, DType::bf16, packed);
  const auto device = std::make_shared<DeviceDestination>();
  (void)materialize(plan, {.destination = device});
  CHECK(device->sized == 0);
  CHECK(device->calls().empty());
  const Bytes stored = mine.bytes();
  CHECK(std::ranges::equal(packed, stored.span()));
}

TEST_CASE("destination: a plan of empty tensors gets places and no write") {
  const Model model;
  LoadPlan plan;
  plan.add(model.checkpoint.tensor("none"));
  const auto device = std::make_shared<DeviceDestination>();
  const Weights on_device = materialize(plan, {.destination = device});
  CHECK(on_device["none"].is_on_device());
  CHECK(device->calls() == "allocate finish destroy");
  const auto host = std::make_shared<HostDestination>();
  const Weights on_host = materialize(plan, {.destination = host});
  CHECK(on_host["none"].span<float>().empty());
  CHECK(host->calls() == "allocate finish destroy");
}

TEST_CASE("destination: host memory is filled in place, and its owner outlives the load") {
  const Model model;
  const LoadPlan plan = model.whole();
  const Weights expected = materialize(plan);
  for (const IoMethod method : every_method) {
    const auto host = std::make_shared<HostDestination>();
    Weights weights = materialize(plan, {.threads = 2, .io_method = method, .destination = host});
    CHECK(host->calls() == "allocate finish destroy");
    CHECK(host->broken_rules().empty());
    const long shared = host->owner.use_count();
    for (const Tensor& tensor : weights) {
      CHECK(tensor.placement().device_type == 3);
      CHECK_FALSE(tensor.is_on_device());
      REQUIRE(test::same_bytes(tensor.bytes(), expected[tensor.name()].bytes()));
    }
    weights = Weights();
    CHECK(host->owner.use_count() < shared);
  }
}

TEST_CASE("destination: large tensors start at their offset in a page of the file, where heft places them") {
  const Model model;
  const Weights weights = materialize(model.whole(), {.alignment = 8});
  const Bytes stored = model.checkpoint.tensor("large.1").bytes();
  const auto page = mmap::page_size();
  CHECK(reinterpret_cast<std::uintptr_t>(weights["large.1"].bytes().data()) % page ==
        reinterpret_cast<std::uintptr_t>(stored.span().data()) % page);
}

TEST_CASE("destination: two devices get a tensor each in turn, in their own memory") {
  const Model model;
  for (const LoadPlan& plan : {model.whole(), model.shaped()})
    for (const IoMethod method : every_method) {
      const auto device = std::make_shared<DeviceDestination>();
      device->devices = 2;
      const Weights weights = materialize(plan, {.threads = 2, .io_method = method, .destination = device});
      check_same(plan, *device, weights);
      for (std::size_t i = 0; i < plan.size(); ++i)
        CHECK(weights[plan[i].name].placement().device_id == static_cast<std::int32_t>(i % 2));
    }
}

TEST_CASE("destination: one that reports late, in another order, or from another thread holds the load back only") {
  const Model model;
  for (const LoadPlan& plan : {model.whole(), model.shaped()})
    for (const IoMethod method : every_method)
      for (const bool reorders : {false, true})
        for (const bool has_thread : {false, true}) {
          INFO("method ", name(method), " reorders ", reorders, " thread ", has_thread);
          // Two threads have four staging buffers at least.
          const auto device = std::make_shared<DeviceDestination>(has_thread ? 1000 : 3);
          device->reorders = reorders;
          const MaterializeOptions options{
              .threads = 2, .io_method = method, .staging_bytes = 1u << 20, .destination = device};
          std::optional<Reporter> reporter;
          if (has_thread) reporter.emplace(*device);
          const Weights weights = materialize(plan, options);
          reporter.reset();
          check_same(plan, *device, weights);
          CHECK(weights.stats().peak_staging_bytes <= plan.estimate(options).host_bytes);
        }
}

TEST_CASE("destination: a write that fails, is dropped or throws, whichever it is, fails the load with its reason") {
  const Model model;
  const LoadPlan plan = model.large();
  const auto load = [&](const std::shared_ptr<DeviceDestination>& device, IoMethod method) {
    (void)materialize(plan, {.threads = 2, .io_method = method, .staging_bytes = 1u << 20, .destination = device});
  };
  for (const IoMethod method : {IoMethod::direct, IoMethod::read}) {
    const auto all = std::make_shared<DeviceDestination>();
    load(all, method);
    REQUIRE(all->written >= 12);
    for (const Outcome outcome : {Outcome::failure, Outcome::dropped, Outcome::thrown})
      for (int n = 0; n < 12; ++n)
        for (const bool has_thread : {false, true}) {
          INFO("method ", name(method), " outcome ", static_cast<int>(outcome), " write ", n, " thread ", has_thread);
          const auto device = std::make_shared<DeviceDestination>(has_thread ? 1000 : 0);
          device->outcome = [&](int number) { return number == n ? outcome : Outcome::success; };
          std::optional<Reporter> reporter;
          if (has_thread) reporter.emplace(*device);
          if (outcome == Outcome::failure) CHECK_THROWS_WITH_AS(load(device, method), "failed", std::runtime_error);
          if (outcome == Outcome::thrown) CHECK_THROWS_WITH_AS(load(device, method), "thrown", std::runtime_error);
          if (outcome == Outcome::dropped)
            CHECK(test::thrown_by([&] { load(device, method); }).code() == ErrorCode::io);
          CHECK(device->given_up == 1);
          CHECK(device->finished == 0);
          CHECK(device->calls().ends_with("destroy free"));
          CHECK(device->broken_rules().empty());
        }
  }
}

TEST_CASE("destination: the Error of a failed write names the tensor that it begins with, its file and the offset") {
  const test::TempFolder folder;
  std::vector<Checkpoint> files;
  std::vector<TensorView> views;
  for (const std::uint32_t number : {0u, 1u}) {
    const std::string prefix = std::to_string(number);
    test::SafetensorsBuilder builder;
    builder.add(prefix + ".long", "BF16", {300, 500}, test::pattern(300'000, number));
    for (std::uint32_t i = 0; i < 30; ++i)
      builder.add(prefix + ".short." + std::to_string(i), "BF16", {1001}, test::pattern(2002, 10 + i));
    files.push_back(open(folder.write(prefix + ".safetensors", builder.build())));
    for (const TensorView& view : files.back().tensors()) views.push_back(view);
  }
  // Without conversion, each byte of a tensor is one of its file; with it, only the file and the tensor are sure.
  for (const bool converts : {false, true})
    for (const auto outcome : {Outcome::lost, Outcome::dropped, Outcome::refused}) {
      LoadPlan plan;
      for (const TensorView& view : views) plan.add(view, converts ? DType::f32 : DType::bf16);
      const auto fails_at = [&](int n) {
        auto device = std::make_shared<DeviceDestination>(
            0, Destination::Requirements{.kind = Destination::Kind::device, .max_write_bytes = 20'000});
        device->outcome = [=](int number) { return number == n ? outcome : Outcome::success; };
        return device;
      };
      const auto load = [&](const std::shared_ptr<DeviceDestination>& device) {
        (void)materialize(plan, {.threads = 1, .destination = device});
      };
      const auto all = fails_at(-1);
      load(all);
      REQUIRE(all->written >= 20);
      for (int n = 0; n < all->written; ++n) {
        INFO("outcome ", static_cast<int>(outcome), " write ", n, " converts ", converts);
        const auto device = fails_at(n);
        const Error error = test::thrown_by([&] { load(device); });
        const auto [tensor, offset] = device->first_failed_byte();
        REQUIRE(tensor < views.size());
        CHECK(error.code() == ErrorCode::io);
        CHECK(error.tensor() == views[tensor].name());
        CHECK(error.path() == views[tensor].shard_path());
        CHECK(error.offset().has_value() == !converts);
        if (!converts) CHECK(error.offset() == views[tensor].offset() + offset);
      }
    }
}

TEST_CASE("destination: the last report can fail the load, after all bytes were read") {
  const Model model;
  const auto load = [&](const std::shared_ptr<DeviceDestination>& device) {
    (void)materialize(model.large(), {.threads = 1, .io_method = IoMethod::read, .destination = device});
  };
  const auto counted = std::make_shared<DeviceDestination>();
  load(counted);
  const auto device = std::make_shared<DeviceDestination>(1);
  device->outcome = [&](int n) { return n + 1 == counted->written ? Outcome::failure : Outcome::success; };
  CHECK_THROWS_WITH_AS(load(device), "failed", std::runtime_error);
  CHECK(device->written == counted->written);
  CHECK(device->given_up == 1);
}

TEST_CASE("destination: what its other members throw fails the load, and the allocation is given up once") {
  const Model model;
  const LoadPlan plan = model.whole();
  const auto fail = [](const char* why) { return [why] { throw std::runtime_error(why); }; };
  const auto load_into = [&](const std::shared_ptr<Destination>& destination) {
    CHECK_THROWS_AS((void)materialize(plan, {.threads = 3, .destination = destination}), std::runtime_error);
  };
  for (const bool on_device : {false, true}) {
    INFO("on device ", on_device);
    const auto make = [&]() -> std::shared_ptr<test::WatchedDestination> {
      if (on_device) return std::make_shared<DeviceDestination>();
      return std::make_shared<HostDestination>();
    };
    const auto early = make();
    early->on_allocate = fail("no room");
    load_into(early);
    CHECK(early->finished + early->given_up == 0);
    CHECK(early->written == 0);
    const auto late = make();
    late->on_finish = fail("not yet");
    load_into(late);
    CHECK(late->finished == 1);
    CHECK(late->given_up == 0);
    CHECK(late->calls().find("finish destroy") != std::string::npos);
    CHECK(late->broken_rules().empty());
  }
}

TEST_CASE("destination: a stop request ends a load that waits for staging, once its writes are reported") {
  const Model model;
  const LoadPlan plan = model.whole();
  for (const IoMethod method : every_method) {
    INFO("method ", name(method));
    const auto device = std::make_shared<DeviceDestination>(1000);
    std::stop_source stop;
    const MaterializeOptions options{
        .threads = 2, .stop = stop.get_token(), .io_method = method, .staging_bytes = 1u << 20, .destination = device};
    // The device retains every buffer: no worker goes on until the load is stopped.
    const std::size_t buffers = engine::budget_for(plan, options).staging_buffers;
    std::counting_semaphore started(0);
    device->on_write = [&] { started.release(); };
    std::atomic<bool> released = false;
    std::jthread stopping([&] {
      for (std::size_t i = 0; i < buffers / 2; ++i) started.acquire();
      stop.request_stop();
      released = true;
      while (device->given_up == 0) device->release();
    });
    CHECK(test::thrown_by([&] { (void)materialize(plan, options); }).code() == ErrorCode::cancelled);
    CHECK(released);
    CHECK(device->finished == 0);
    CHECK(device->given_up == 1);
    CHECK(device->broken_rules().empty());
  }
}

TEST_CASE("destination: one that throws does not leave others waiting for staging") {
  const Model model;
  const auto device = std::make_shared<DeviceDestination>();
  device->outcome = [](int number) { return number == 3 ? Outcome::thrown : Outcome::success; };
  CHECK_THROWS_WITH_AS(
      (void)materialize(model.whole(), {.threads = 3, .staging_bytes = 1u << 20, .destination = device}), "thrown",
      std::runtime_error);
  CHECK(device->given_up == 1);
}

namespace {

// A destination whose allocations are wrong in one way.
class Wrong final : public Destination {
 public:
  using Change = std::function<void(std::vector<Placement>&)>;
  Wrong(Kind kind, Change change) : kind_(kind), change_(std::move(change)) {}
  [[nodiscard]] Requirements requirements() const noexcept override { return {.kind = kind_}; }
  [[nodiscard]] std::uint64_t bytes_for(std::span<const TensorSpec>) const override { return 0; }
  [[nodiscard]] std::unique_ptr<Allocation> allocate(std::span<const TensorSpec> tensors) const override {
    auto block = std::make_unique<Block>(*this);
    for (const TensorSpec& tensor : tensors) {
      block->places.push_back({.data = block->memory.get(), .byte_offset = block->end});
      block->end += (tensor.size_bytes + 63) / 64 * 64;
    }
    change_(block->places);
    return block;
  }
  mutable int destroyed = 0;
  mutable std::atomic<int> written = 0;  // by several workers

 private:
  struct Block final : Allocation {
    explicit Block(const Wrong& destination) : owner(destination) {}
    ~Block() override { ++owner.destroyed; }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    [[nodiscard]] std::span<const Placement> placements() const noexcept override { return places; }
    void write_async(const WriteRequest&, Completion completion) override {
      ++owner.written;
      completion.succeed();
    }
    [[nodiscard]] std::shared_ptr<const void> finish() override { return nullptr; }
    const Wrong& owner;
    std::shared_ptr<std::byte[]> memory{new (std::align_val_t{64}) std::byte[16u << 20],
                                        [](std::byte* p) { ::operator delete[](p, std::align_val_t{64}); }};
    std::uint64_t end = 0;
    std::vector<Placement> places;
  };
  Kind kind_;
  Change change_;
};

}  // namespace

TEST_CASE("destination: places that are missing, overlap or are not aligned are refused before a byte moves") {
  const Model model;
  const LoadPlan plan = model.whole();
  struct Case {
    const char* what;
    std::optional<Destination::Kind> kind;  // nothing: both
    ErrorCode code;
    std::string_view tensor;
    Wrong::Change change;
  };
  using Places = std::vector<Placement>;
  const Case cases[] = {
      {"too few", {}, ErrorCode::out_of_memory, "", [](Places& places) { places.pop_back(); }},
      {"none", {}, ErrorCode::out_of_memory, "", [](Places& places) { places.clear(); }},
      {"no address", Destination::Kind::host_writable, ErrorCode::out_of_memory, "large.1",
       [](Places& places) { places[1] = {}; }},
      {"a byte too near",
       {},
       ErrorCode::out_of_memory,
       "large.0",
       [](Places& places) { places[1].byte_offset = places[0].byte_offset + (4u << 20) - 64; }},
      {"the same place", {}, ErrorCode::out_of_memory, "small.5", [](Places& places) { places[9] = places[8]; }},
      {"outside the address space", Destination::Kind::device, ErrorCode::out_of_memory, "large.2",
       [](Places& places) { places[2].byte_offset = std::numeric_limits<std::uint64_t>::max() - 63; }},
      {"not aligned", {}, ErrorCode::misaligned, "large.2", [](Places& places) { places[2].byte_offset += 8; }},
  };
  for (const auto kind : {Destination::Kind::host_writable, Destination::Kind::device})
    for (const Case& each : cases) {
      if (each.kind && *each.kind != kind) continue;
      INFO(each.what, " device ", kind == Destination::Kind::device);
      const auto wrong = std::make_shared<Wrong>(kind, each.change);
      int reports = 0;
      MaterializeOptions options{.destination = wrong};
      options.progress = [&](const Progress&) { ++reports; };
      const Error error = test::thrown_by([&] { (void)materialize(plan, options); });
      CHECK(error.code() == each.code);
      CHECK(error.tensor() == each.tensor);
      CHECK(reports == 0);
      CHECK(wrong->written == 0);
      CHECK(wrong->destroyed == 1);
    }
  const auto right = std::make_shared<Wrong>(Destination::Kind::device, [](Places&) {});
  (void)materialize(plan, {.destination = right});
  CHECK(right->written > 0);
}

TEST_CASE("destination: requirements and staging that make no sense are refused") {
  const Model model;
  const LoadPlan plan = model.large();
  const auto code = [&](const Destination::Requirements& requirements) {
    const auto device = std::make_shared<DeviceDestination>(0, requirements);
    const ErrorCode of_estimate = test::thrown_by([&] { (void)plan.estimate({.destination = device}); }).code();
    CHECK(test::thrown_by([&] { (void)materialize(plan, {.destination = device}); }).code() == of_estimate);
    CHECK(device->calls().empty());
    return of_estimate;
  };
  CHECK(code({.kind = Destination::Kind::device, .alignment = 48}) == ErrorCode::out_of_range);
  CHECK(code({.kind = Destination::Kind::device, .alignment = 0}) == ErrorCode::out_of_range);
  CHECK(code({.kind = Destination::Kind::device, .max_write_bytes = 0}) == ErrorCode::out_of_range);
}

TEST_CASE("destination: one that takes no bytes although it is a device is refused") {
  class Deaf final : public Destination {
   public:
    [[nodiscard]] Requirements requirements() const noexcept override { return {.kind = Kind::device}; }
    [[nodiscard]] std::uint64_t bytes_for(std::span<const TensorSpec>) const override { return 0; }
    [[nodiscard]] std::unique_ptr<Allocation> allocate(std::span<const TensorSpec>) const override {
      return std::make_unique<Block>();
    }

   private:
    struct Block final : Allocation {
      [[nodiscard]] std::span<const Placement> placements() const noexcept override { return {&place, 1}; }
      [[nodiscard]] std::shared_ptr<const void> finish() override { return nullptr; }
      Placement place;
    };
  };
  const Model model;
  LoadPlan plan;
  plan.add(model.checkpoint.tensor("large.0"));
  CHECK(test::thrown_by([&] { (void)materialize(plan, {.destination = std::make_shared<Deaf>()}); }).code() ==
        ErrorCode::unsupported);
}

TEST_CASE("destination: several loads at once share one") {
  const Model model;
  const LoadPlan plan = model.whole();
  const Weights expected = materialize(plan);
  const auto host = std::make_shared<HostDestination>();
  std::array<Weights, 3> loaded;
  {
    std::vector<std::jthread> threads;
    for (Weights& weights : loaded)
      threads.emplace_back([&] { weights = materialize(plan, {.threads = 2, .destination = host}); });
  }
  for (const Weights& weights : loaded)
    for (const Tensor& tensor : weights) REQUIRE(test::same_bytes(tensor.bytes(), expected[tensor.name()].bytes()));
  CHECK(host->allocated == 3);
  CHECK(host->finished == 3);
}

TEST_CASE("destination: a tensor on a device cannot be read here, and reports so") {
  const Model model;
  LoadPlan plan;
  plan.add(model.checkpoint.tensor("large.0"));
  const auto device = std::make_shared<DeviceDestination>();
  const Weights weights = materialize(plan, {.destination = device});
  const Tensor& there = weights["large.0"];
  CHECK(there.owned_bytes().owner() == device->owner);
  CHECK(test::thrown_by([&] { (void)there.span<bf16>(); }).code() == ErrorCode::unsupported);
  CHECK(test::thrown_by([&] { (void)there.slice<bf16>(); }).code() == ErrorCode::unsupported);
  CHECK(test::thrown_by([&] { (void)there.view(); }).code() == ErrorCode::unsupported);
}

TEST_CASE("destination: the checks of the order of calls bite") {
  const std::array<std::byte, 64> bytes{};
  const TensorSpec tensor{.name = "x", .dtype = DType::u8, .size_bytes = 64, .alignment = 64};
  const auto broken = [&](const std::function<void(DeviceDestination&)>& act) {
    DeviceDestination device(1);
    act(device);
    device.release();
    return !device.broken_rules().empty();
  };
  const auto write = [&](Allocation& allocation, std::uint64_t size) {
    static const Completion::Report ignore = [](void*, std::exception_ptr) noexcept {};
    allocation.write_async({.to = allocation.placements()[0], .staged = std::span(bytes).first(size)},
                           Completion(nullptr, ignore));
  };
  CHECK_FALSE(broken([&](DeviceDestination& device) {
    const auto allocation = device.allocate({&tensor, 1});
    write(*allocation, 64);
    (void)allocation->finish();
  }));
  // The device retains a write of half of the tensor.
  CHECK(broken([&](DeviceDestination& device) {
    const auto allocation = device.allocate({&tensor, 1});
    write(*allocation, 32);
    (void)allocation->finish();
    device.release();
  }));
  CHECK(broken([&](DeviceDestination& device) {
    const auto allocation = device.allocate({&tensor, 1});
    (void)allocation->finish();
    write(*allocation, 64);
  }));
  CHECK(broken([&](DeviceDestination& device) {
    auto allocation = device.allocate({&tensor, 1});
    std::jthread([&] { allocation.reset(); }).join();
  }));
  CHECK(broken([&](DeviceDestination& device) {
    StagingMemory staging = device.staging(4096);
    std::jthread([&] { staging.owner.reset(); }).join();
  }));
}
