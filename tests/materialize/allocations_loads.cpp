// As allocations.cpp: plans, loads, streams and saving.
#include <doctest/doctest.h>

#include <array>
#include <filesystem>
#include <iterator>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "allocation_sweep.hpp"
#include "support/destinations.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace heft;
using namespace heft::sweeps;

namespace fs = std::filesystem;

// Device memory that keeps nothing.
class Sink final : public Destination {
 public:
  [[nodiscard]] Requirements requirements() const noexcept override { return {.kind = Kind::device}; }
  [[nodiscard]] std::uint64_t bytes_for(std::span<const TensorSpec>) const override { return 0; }
  [[nodiscard]] std::unique_ptr<Allocation> allocate(std::span<const TensorSpec> tensors) const override {
    return std::make_unique<Nothing>(tensors);
  }

 private:
  class Nothing final : public Allocation {
   public:
    explicit Nothing(std::span<const TensorSpec> tensors) : places_(tensors.size()) {
      std::uint64_t end = 0;
      for (std::size_t i = 0; i < tensors.size(); ++i) {
        places_[i] = {.device_type = 2, .byte_offset = end};
        end += (tensors[i].size_bytes + 63) / 64 * 64;
      }
    }
    [[nodiscard]] std::span<const Placement> placements() const noexcept override { return places_; }
    void write_async(const WriteRequest&, Completion completion) override { completion.succeed(); }
    [[nodiscard]] std::shared_ptr<const void> finish() override { return nullptr; }

   private:
    std::vector<Placement> places_;
  };
};

}  // namespace

TEST_CASE("allocations: plans, tensors in pieces, and what a load makes") {
  const test::TempFolder folder;
  const Checkpoint small = open(folder.write("small.safetensors", small_model()));
  const std::vector<TensorView> both = {small.tensor("model.layers.0.up.weight"),
                                        small.tensor("model.layers.2.up.weight")};
  const auto joined = [&] {
    return TensorView::over_pieces("joined", Shape{8, 2}, {{both[0], Dims(2, 0)}, {both[1], Shape{4, 0}}});
  };
  Tally tally("plans");
  tally.add("concat(), stack(), a copy", [&] {
    LoadPlan plan;
    plan.add(concat("concat", both, 0));
    plan.add(stack("stack", both, 1), DType::f32);
    plan.add(joined());
    const LoadPlan copy = plan;
    static_cast<void>(copy.estimate({.threads = 2}).host_bytes + copy.estimate().bytes_read);
    static_cast<void>(materialize(copy));
  });
  tally.add("pieces", [&] {
    const TensorView whole = joined();
    static_cast<void>(materialize(whole.slice(0, 2, 6).renamed("part")));
  });
  tally.add("views over memory", [&] {
    const std::array<float, 6> numbers{1, 2, 3, 4, 5, 6};
    const TensorView view =
        TensorView::over("mine", DType::f32, Shape{2, 3}, Bytes::copy_of(std::as_bytes(std::span(numbers))));
    static_cast<void>(view.cast_on_load(DType::f16).shares_storage_with(view));
    static_cast<void>(view.as<float>()[5]);
  });
  std::array<std::byte, 64> there{};
  tally.add("into memory that is there", [&] {
    LoadPlan plan;
    plan.add(both[0], DType::f32, there);
    static_cast<void>(materialize(plan));
  });
  tally.add("into a destination in host memory", [&] {
    LoadPlan plan;
    plan.add(both[0]);
    static_cast<void>(materialize(plan, {.destination = std::make_shared<test::HostDestination>()}));
  });
  tally.add("one view", [&] { static_cast<void>(materialize(both[0]).slice<bf16>()[0]); });
  LoadPlan plan;
  for (const TensorView& view : both) plan.add(view);
  const Weights weights = materialize(plan);
  tally.add("tensors", [&] {
    const Tensor tensor = weights["model.layers.0.up.weight"];
    static_cast<void>(tensor.view().renamed("again").as<bf16>()[0]);
    if (weights.find("nothing") != nullptr) throw std::logic_error("found nothing");
  });
  tally.add(
      "a tensor that was not loaded", [&] { static_cast<void>(weights["model.layers.0.up.weigth"]); },
      expected(ErrorCode::not_found));
  tally.add("a stream's figures", [&] {
    TensorStream tensors = stream(plan);
    while (tensors.next()) {
    }
    static_cast<void>(tensors.stats());
  });
}

TEST_CASE("allocations: materialize on every path, into every kind of memory, with one thread and more") {
  const test::TempFolder folder;
  const Checkpoint large = open(folder.write("large.safetensors", large_model()));
  const Checkpoint unmapped = open(folder.path() / "large.safetensors", {.access = Access::read});
  Tally tally("materialize");
  for (const unsigned threads : {1u, 3u}) {
    for (const IoMethod path : {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read}) {
      const std::string what = std::string(name(path)) + ", " + std::to_string(threads) + " threads";
      tally.add(what, [&] {
        static_cast<void>(
            materialize(plan_of(large), {.threads = threads, .io_method = path, .drop_page_cache = threads == 1}));
      });
      if (path == IoMethod::map) continue;
      tally.add(what + ", far", [&] {
        static_cast<void>(materialize(
            plan_of(large), {.threads = threads, .io_method = path, .destination = std::make_shared<Sink>()}));
      });
    }
    tally.add("unmapped", [&] { static_cast<void>(materialize(plan_of(unmapped), {.threads = threads})); });
  }
}

TEST_CASE("allocations: threads that are kept, and loads on them") {
  const test::TempFolder folder;
  const Checkpoint large = open(folder.write("large.safetensors", large_model()));
  Tally tally("workers");
  tally.add("made", [] { static_cast<void>(Workers(2).threads()); });
  const auto workers = std::make_shared<Workers>(1);
  tally.add("a load", [&] { static_cast<void>(materialize(plan_of(large), {.threads = 2, .workers = workers})); });
  tally.add("a stream", [&] {
    std::size_t count = 0;
    for (const Tensor& tensor :
         stream(plan_of(large), {.threads = 2, .workers = workers}, {.in_flight_bytes = 4u << 20}))
      count += tensor.size_bytes() != 0;
    if (count != 24) throw std::logic_error("a stream that is short");
  });
}

TEST_CASE("allocations: a stream, whole or left early") {
  const test::TempFolder folder;
  const Checkpoint large = open(folder.write("large.safetensors", large_model()));
  Tally tally("stream");
  for (const unsigned threads : {1u, 2u}) {
    tally.add("whole", [&] {
      std::size_t count = 0;
      for (const Tensor& tensor : stream(plan_of(large), {.threads = threads}, {.in_flight_bytes = 4u << 20}))
        count += tensor.size_bytes() != 0;
      if (count != 24) throw std::logic_error("a stream that is short");
    });
    tally.add("left early", [&] {
      static_cast<void>(stream(plan_of(large), {.threads = threads}, {.in_flight_bytes = 4u << 20}).next());
    });
  }
}

TEST_CASE("allocations: saving in every format leaves the old file or the new one, and nothing else") {
  const test::TempFolder folder;
  const Checkpoint small = open(folder.write("small.safetensors", small_model()));
  const std::vector<SaveItem> items = [&] {
    std::vector<SaveItem> wanted;
    for (const TensorView& view : small.tensors("model.*")) wanted.emplace_back(view, DType::f32);
    return wanted;
  }();
  Tally tally("save");
  for (const char* file : {"model.safetensors", "model.npz", "model.gguf"}) {
    fs::create_directory(folder.path() / "out");
    const fs::path path = folder.path() / "out" / file;
    static_cast<void>(save(items, path));
    tally.add(file, [&] { static_cast<void>(save(items, path)); });
    CHECK(std::distance(fs::directory_iterator(folder.path() / "out"), fs::directory_iterator()) == 1);
    CHECK(open(path).tensors().size() == items.size());
    fs::remove_all(folder.path() / "out");
  }
  fs::create_directory(folder.path() / "out");
  tally.add("shards", [&] { static_cast<void>(save(small, folder.path() / "out", {.shard_bytes = 40})); });
  CHECK(open(folder.path() / "out").tensors().size() == small.tensors().size());
  tally.add("a record", [&] { static_cast<void>(save(small.root()["model"], folder.path() / "record.safetensors")); });
  Network network;
  static_cast<void>(bind(remap(small, {}, Indices::contiguous).root()["model"], network));
  tally.add("a struct", [&] { static_cast<void>(save(network, folder.path() / "struct.safetensors")); });
  tally.add("weights", [&] {
    LoadPlan plan;
    for (const SaveItem& item : items) plan.add(item.view, item.dtype);
    static_cast<void>(save(materialize(plan), folder.path() / "weights.safetensors"));
  });
}
