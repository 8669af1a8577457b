// Bounds on declarations of a small file: repeated bytes, memory that the machine lacks, work that cannot be stopped.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <stop_token>
#include <string>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "heft/save.hpp"
#include "heft/stream.hpp"
#include "materialize/memory/memory_left.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/schedule.hpp"
#include "mmap/memory_available.hpp"
#include "record/view_access.hpp"
#include "support/fixtures.hpp"
#include "support/pickle_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;

namespace {

constexpr std::uint64_t mib = 1u << 20;

TensorView bytes_named(std::string name, std::size_t size) {
  const std::vector<std::byte> bytes(size, std::byte{7});
  return TensorView::over(std::move(name), DType::u8, Shape{static_cast<std::int64_t>(size)}, Bytes::copy_of(bytes));
}

// A view of the storage of `of` with those sizes and strides.
TensorView restrided(const TensorView& of, std::string_view name, std::vector<std::int64_t> sizes,
                     std::vector<std::int64_t> strides) {
  return ViewAccess::make({.source = ViewAccess::source(of),
                           .name = name,
                           .type_name = {},
                           .begin = 0,
                           .size = of.storage_bytes(),
                           .first = 0,
                           .sizes = sizes,
                           .strides = strides,
                           .dtype = DType::u8,
                           .flags = 0});
}

Limits repeating(std::uint64_t bytes) {
  Limits limits;
  limits.repeated_bytes = bytes;
  return limits;
}

void check_repeated(const Error& error) {
  CHECK(error.code() == ErrorCode::limit_exceeded);
  CHECK(error.message().find("Limits::repeated_bytes") != std::string::npos);
  CHECK(!error.tensor().empty());
}

// Tensors over one storage, whose names are numbers.
LoadPlan repeated_plan(const TensorView& view, int times) {
  LoadPlan plan;
  for (int i = 0; i < times; ++i) plan.add(view.renamed(std::to_string(i)));
  return plan;
}

}  // namespace

TEST_CASE("bounds: repeated bytes of a storage, of overlapping windows and of strides of 0 are summed over a plan") {
  const TensorView storage = bytes_named("storage", 10'000);
  SUBCASE("the same storage again and again") {
    LoadPlan plan(repeating(50'000));
    for (int i = 0; i < 6; ++i) plan.add(storage.renamed(std::to_string(i)));
    check_repeated(test::thrown_by([&] { plan.add(storage.renamed("6")); }));
    CHECK(plan.size() == 6);
    CHECK(test::thrown_by([&] { plan.add(storage.renamed("5")); }).code() == ErrorCode::limit_exceeded);
  }
  SUBCASE("windows, each of which is small") {
    LoadPlan plan(repeating(50'000));
    const auto window = [&](std::int64_t i) {
      return storage.slice(0, i * 10, i * 10 + 5000).renamed(std::to_string(i));
    };
    std::int64_t i = 0;
    const Error error = test::thrown_by([&] {
      for (; i < 500; ++i) plan.add(window(i));
    });
    check_repeated(error);
    CHECK(i >= 10);
    CHECK(i <= 13);
  }
  SUBCASE("a stride of 0, in several tensors that are below the limit each") {
    LoadPlan plan(repeating(50'000));
    plan.add(restrided(storage, "a", {30'000}, {0}));
    check_repeated(test::thrown_by([&] { plan.add(restrided(storage, "b", {30'000}, {0})); }));
  }
  SUBCASE("parts of one tensor") {
    LoadPlan plan(repeating(50'000));
    const std::vector<TensorView> seven(7, storage);
    check_repeated(test::thrown_by([&] { plan.add(concat("all", seven, 0)); }));
    check_repeated(test::thrown_by([&] { plan.add(stack("all", seven, 0)); }));
    plan.add(concat("six", std::span(seven).first(6), 0));  // what was refused is not counted
    CHECK(plan.size() == 1);
  }
}

TEST_CASE("bounds: tied weights, shards and transposes repeat nothing that counts") {
  const TensorView storage = bytes_named("storage", 10'000);
  const TensorView matrix = storage.reshape(Shape{100, 100});
  LoadPlan plan(repeating(0));
  plan.add(storage);
  plan.add(storage.renamed("tied"));
  LoadPlan shards(repeating(0));
  for (std::size_t rank = 0; rank < 4; ++rank)
    shards.add(matrix.shard(1, rank, 4).renamed("columns" + std::to_string(rank)));
  LoadPlan turned(repeating(0));
  turned.add(matrix.transpose(0, 1));
  CHECK(turned.size() == 1);
}

TEST_CASE("bounds: repeated bytes may fill a buffer of the caller's, and not a saved file") {
  const TensorView storage = bytes_named("storage", 1000);
  std::vector<std::byte> buffer(30'000);
  LoadPlan plan(repeating(10));
  plan.add(restrided(storage, "wide", {30'000}, {0}), DType::u8, buffer);
  CHECK(plan.size() == 1);
  const test::TempFolder folder;
  SaveOptions options;
  options.limits = repeating(20'000);
  const std::vector<SaveItem> items{restrided(storage, "a", {15'000}, {0}), restrided(storage, "b", {15'000}, {0})};
  check_repeated(test::thrown_by([&] { return save(items, folder.path() / "out.safetensors", options); }));
  CHECK(!std::filesystem::exists(folder.path() / "out.safetensors"));
}

TEST_CASE(
    "bounds: a load that is larger than the memory that is left is refused before a byte is read, with both figures") {
  const test::TempFolder folder;
  // Twice what is left, and no more: the thread sanitizer's runtime leaves less than a TiB of address space in one
  // piece.
  const std::uint64_t left = mmap::memory_available().bytes;
  REQUIRE(left != mmap::MemoryAvailable::unknown);
  const auto elements = static_cast<std::int64_t>(2 * left);
  const std::string header = R"({"vast":{"dtype":"U8","shape":[)" + std::to_string(elements) +
                             R"(],"data_offsets":[0,)" + std::to_string(elements) + "]}}";
  const auto path = folder.write_sparse("vast.safetensors", 8 + header.size() + static_cast<std::uint64_t>(elements));
  {
    std::FILE* file = std::fopen(path.c_str(), "r+b");
    REQUIRE(file != nullptr);
    std::fwrite(test::little(header.size(), 8).data(), 1, 8, file);
    std::fwrite(header.data(), 1, header.size(), file);
    std::fclose(file);
  }
  const Checkpoint checkpoint = open(path);
  LoadPlan plan;
  plan.add(checkpoint.tensor("vast"));
  const auto check = [](const Error& error) {
    CHECK(error.code() == ErrorCode::out_of_memory);
    CHECK(error.message().find("are left (") != std::string::npos);
    CHECK(error.path().ends_with("vast.safetensors"));
    CHECK(error.tensor() == "vast");
  };
  check(test::thrown_by([&] { return materialize(plan); }));
  check(test::thrown_by([&] {
    for (const Tensor& tensor : stream(plan)) static_cast<void>(tensor);
  }));
  // Unasked, the system gives address space, and the load ends with what it finds out then.
  std::stop_source stopped;
  stopped.request_stop();
  const MaterializeOptions unchecked{.stop = stopped.get_token(), .check_memory = false};
  CHECK(test::thrown_by([&] { return materialize(plan, unchecked); }).code() == ErrorCode::cancelled);
}

TEST_CASE("bounds: staging shrinks to the memory that is left, to a MiB at least") {
  CHECK(engine::modest_bytes(16 * mib, UINT64_MAX) == 16 * mib);
  CHECK(engine::modest_bytes(16 * mib, 1024 * mib) == 16 * mib);
  CHECK(engine::modest_bytes(16 * mib, 50 * mib) == 6 * mib);
  CHECK(engine::modest_bytes(16 * mib, 0) == mib);
  engine::require_memory(10, {.bytes = 10, .limited_by = "a cgroup"});
  const Error error = test::thrown_by([] { engine::require_memory(11, {.bytes = 10, .limited_by = "cgroup /a"}); });
  CHECK(error.code() == ErrorCode::out_of_memory);
  CHECK(error.message().find("expected 11 bytes of memory, 10 are left (cgroup /a)") == 0);
}

TEST_CASE("bounds: many tensors over one storage report progress on the way, and stop at any report") {
  const TensorView storage = bytes_named("storage", 256u << 10);
  const LoadPlan plan = repeated_plan(storage, 512);
  const std::uint64_t total = plan.estimate().bytes_written;
  std::vector<std::uint64_t> reports;
  const Weights weights = materialize(
      plan, {.threads = 1, .progress = [&](const Progress& progress) { reports.push_back(progress.bytes_done); }});
  CHECK(reports.size() >= 8);
  CHECK(reports.back() == total);
  CHECK(std::ranges::is_sorted(reports));
  CHECK(weights.stats().bytes_read == plan.estimate().bytes_read);
  CHECK(plan.estimate().bytes_read == storage.size_bytes());
  CHECK(weights["511"].span<std::uint8_t>()[1000] == 7);
  for (const std::size_t last : {1u, 2u, 5u}) {
    std::stop_source stop;
    std::size_t calls = 0;
    std::uint64_t done = 0;
    const auto watch = [&](const Progress& progress) {
      done = progress.bytes_done;
      if (++calls == last) stop.request_stop();
    };
    CHECK(test::thrown_by([&] {
            return materialize(plan, {.threads = 1, .progress = watch, .stop = stop.get_token()});
          }).code() == ErrorCode::cancelled);
    CHECK(calls == last);
    CHECK(done <= last * 17 * mib);
  }
}

TEST_CASE("bounds: a part writes at most its bound, and a chunk little more, even of a source of a few bytes") {
  const TensorView storage = bytes_named("storage", 4096);
  const auto schedule_of = [](const TensorView& view) {
    LoadPlan plan;
    plan.add(view);
    return engine::PlanAccess::schedule(plan);
  };
  const engine::ChunkSizes sizes;
  const std::int64_t many = 200'000'000;
  const std::vector<TensorView> views{restrided(storage, "flat", {many}, {0}),
                                      restrided(storage, "rows", {many / 1000, 1000}, {0, 1}),
                                      restrided(storage, "columns", {1000, many / 1000}, {1, 0}),
                                      restrided(storage, "windows", {4000, many / 8000, 2}, {1, 0, 1})};
  for (const TensorView& view : views) {
    const std::string name(view.name());
    INFO(name);
    const std::shared_ptr<const engine::Schedule> compiled = schedule_of(view);
    const engine::Schedule& schedule = *compiled;
    std::uint64_t written = 0;
    for (const engine::Part& part : schedule.parts) {
      CHECK(schedule.written_by(part) <= (schedule.transfer(part).transposed ? sizes.transposed_part : sizes.part));
      written += schedule.written_by(part);
    }
    CHECK(written == view.size_bytes());
    CHECK(schedule.sizes.written == view.size_bytes());
    CHECK(schedule.sizes.read <= storage.size_bytes());
    for (const engine::Chunk& chunk : schedule.chunks)
      CHECK(engine::written_by(schedule, chunk) <= sizes.written + sizes.transposed_part);
    CHECK(schedule.batches.size() >= 4);  // several workers share it
  }
}

TEST_CASE("bounds: repeated bytes arrive complete and correct, with one worker and with several, on every path") {
  const test::TempFolder folder;
  using namespace test::pickle;
  std::string payload(5000, '\0');
  for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(i * 37 % 251);
  const auto strided = [&](const std::vector<int>& sizes, const std::vector<int>& strides) {
    return tensor("0", 5000, 0, sizes, strides, "ByteStorage");
  };
  const std::string object =
      dict({text("rows"), strided({20'000, 2000}, {0, 1}), text("columns"), strided({2000, 20'000}, {1, 0}),
            text("windows"), strided({3000, 2000}, {1, 1}), text("plain"), strided({5000}, {1})});
  const Checkpoint checkpoint = open(folder.write("m.pt", torch_file(object, {payload})));
  LoadPlan plan;
  for (const TensorView& view : checkpoint.tensors()) plan.add(view);
  for (const IoMethod path : {IoMethod::automatic, IoMethod::map, IoMethod::read, IoMethod::direct})
    for (const unsigned threads : {1u, 3u}) {
      const Weights weights = materialize(plan, {.threads = threads, .io_method = path});
      const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(payload[i]); };
      const std::uint8_t* const rows = weights["rows"].span<std::uint8_t>().data();
      const std::uint8_t* const columns = weights["columns"].span<std::uint8_t>().data();
      const std::uint8_t* const windows = weights["windows"].span<std::uint8_t>().data();
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < 20'000; i += 7)
        for (std::size_t j = 0; j < 2000; j += 3)
          wrong += (rows[i * 2000 + j] != at(j)) + (columns[j * 20'000 + i] != at(j));
      for (std::size_t i = 0; i < 3000; ++i)
        for (std::size_t j = 0; j < 2000; ++j) wrong += windows[i * 2000 + j] != at(i + j);
      CHECK(wrong == 0);
      CHECK(weights.stats().bytes_read == plan.estimate().bytes_read);
      CHECK(weights.stats().bytes_written == plan.estimate().bytes_written);
    }
}

TEST_CASE("bounds: a reported file that makes 64 GiB of 4 bytes is refused in a plan") {
  const auto folder = test::cases("attack-memory");
  if (!folder) return;
  const Checkpoint checkpoint = open(*folder / "stride0-16.pt");
  CHECK(checkpoint.tensors().size() == 16);
  LoadPlan plan;
  check_repeated(test::thrown_by([&] {
    for (const TensorView& view : checkpoint.tensors()) plan.add(view);
  }));
}
