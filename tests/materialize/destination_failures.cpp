// Loads into a destination that fails, is wrong, or is stopped.
#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "destination_model.hpp"
#include "heft/destination.hpp"
#include "heft/error.hpp"
#include "materialize/load_budget.hpp"
#include "support/destinations.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;
using namespace heft::destinations;
using test::DeviceDestination;
using test::HostDestination;
using Outcome = DeviceDestination::Outcome;

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

TEST_CASE("destination: any write that fails, is dropped or throws fails the load with its reason") {
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

TEST_CASE("destination: an exception of its other members fails the load, and the allocation is destroyed once") {
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

TEST_CASE("destination: a write that throws leaves no worker waiting for staging") {
  const Model model;
  const auto device = std::make_shared<DeviceDestination>();
  device->outcome = [](int number) { return number == 3 ? Outcome::thrown : Outcome::success; };
  CHECK_THROWS_WITH_AS(
      (void)materialize(model.whole(), {.threads = 3, .staging_bytes = 1u << 20, .destination = device}), "thrown",
      std::runtime_error);
  CHECK(device->given_up == 1);
}

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

TEST_CASE("destination: invalid requirements and staging are refused") {
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

TEST_CASE("destination: a device without write_async() is refused") {
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
