// Checkpoints of more shards than a process may have files open.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "heft/save.hpp"
#include "heft/stream.hpp"
#include "support/descriptors.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;
using test::TempFolder;

constexpr IoMethod every_path[] = {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read};

std::string tensor_name(std::size_t shard) { return "layer." + std::to_string(shard) + ".w"; }

// One tensor a shard, of which every third has no whole pages.
std::string payload(std::size_t shard, std::size_t size) {
  return test::pattern(shard % 3 == 0 ? size - 5 : size, static_cast<std::uint32_t>(shard) + 1);
}

std::string file_name(std::size_t shard, std::size_t count) {
  const auto digits = [](std::size_t number) { return std::to_string(100'000 + number).substr(1); };
  return "model-" + digits(shard + 1) + "-of-" + digits(count) + ".safetensors";
}

void write_model(const TempFolder& folder, std::size_t count, std::size_t size) {
  std::string map;
  for (std::size_t shard = 0; shard < count; ++shard) {
    const std::string bytes = payload(shard, size);
    const auto dim = static_cast<std::int64_t>(bytes.size());
    folder.write(file_name(shard, count),
                 test::SafetensorsBuilder().add(tensor_name(shard), "U8", {dim}, bytes).build());
    map += (map.empty() ? "\"" : ",\"") + tensor_name(shard) + "\":\"" + file_name(shard, count) + '"';
  }
  folder.write("model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
}

bool is_right(const Tensor& tensor, std::size_t size) {
  const std::string expected = payload(std::stoul(std::string(tensor.name()).substr(6)), size);
  return std::ranges::equal(tensor.bytes(), std::as_bytes(std::span(expected)));
}

LoadPlan plan_of(const Checkpoint& checkpoint) {
  LoadPlan plan;
  for (const TensorView& view : checkpoint.tensors()) plan.add(view);
  return plan;
}

// Everything of it, on every path, is what was written.
void check_loads(const std::filesystem::path& path, std::size_t count, std::size_t size, Access access,
                 unsigned threads) {
  const Checkpoint checkpoint = open(path, {.access = access});
  REQUIRE(checkpoint.tensors().size() == count);
  CHECK(checkpoint.freshness() == Freshness::same);
  const auto right = [&](const Tensor& tensor) { return is_right(tensor, size); };
  for (const IoMethod way : every_path)
    for (const bool drop : {false, true}) {
      INFO("path ", name(way), ", access ", access == Access::map ? "map" : "read", ", threads ", threads, ", drop ",
           drop);
      const Weights weights =
          materialize(plan_of(checkpoint), {.threads = threads, .io_method = way, .drop_page_cache = drop});
      CHECK(weights.size() == count);
      CHECK(std::all_of(weights.begin(), weights.end(), right));
    }
  std::size_t streamed = 0;
  for (const Tensor& tensor : stream(plan_of(checkpoint), {.threads = threads}, {.in_flight_bytes = 1u << 20}))
    streamed += right(tensor);
  CHECK(streamed == count);
}

}  // namespace

TEST_CASE("shards: 200 of them load on every path where 48 files may be open") {
  const TempFolder folder;
  write_model(folder, 200, 64u << 10);
  const test::DescriptorLimit limit(48);
  for (const Access access : {Access::map, Access::read})
    for (const unsigned threads : {1u, 4u}) check_loads(folder.path(), 200, 64u << 10, access, threads);
}

TEST_CASE("shards: 1,433 of them open and load where 1,024 files may be open") {
  const TempFolder folder;
  write_model(folder, 1433, 8u << 10);
  const test::DescriptorLimit limit(1024);
  const std::size_t before = test::open_descriptors();
  check_loads(folder.path(), 1433, 8u << 10, Access::map, 4);
  const Checkpoint checkpoint = open(folder.path());
  CHECK(test::open_descriptors() <= before + 257);
}

TEST_CASE("shards: are saved where few files may be open") {
  const TempFolder folder;
  write_model(folder, 100, 4u << 10);
  const TempFolder saved;
  const test::DescriptorLimit limit(40);
  (void)save(open(folder.path()), saved.path() / "model.safetensors", {.sync = false});
  check_loads(saved.path(), 100, 4u << 10, Access::map, 2);
}

TEST_CASE("shards: one that was given up and replaced ends the load with its path, and shows in freshness()") {
  const TempFolder folder;
  write_model(folder, 60, 4u << 10);
  const test::DescriptorLimit limit(32);
  const Checkpoint checkpoint = open(folder.path());
  const std::filesystem::path first = folder.path() / file_name(0, 60);
  std::filesystem::rename(folder.write("next", test::content_of(first)), first);
  const Error error = test::thrown_by([&] { return materialize(plan_of(checkpoint)); });
  CHECK(error.code() == ErrorCode::changed_on_disk);
  CHECK(error.path() == first.string());
  CHECK(checkpoint.freshness() == Freshness::replaced);
}

TEST_CASE("shards: a model that users reported opens and loads where 48 files may be open") {
  const auto folder = test::cases("bugreports-2/folder-many-shards");
  if (!folder) return;
  const test::DescriptorLimit limit(48);
  const Checkpoint checkpoint = open(*folder);
  CHECK(checkpoint.tensors().size() == 80);
  CHECK(materialize(plan_of(checkpoint)).size() == 80);
  CHECK(materialize(checkpoint.tensor("l.79.w")).dtype() == DType::f32);
}
