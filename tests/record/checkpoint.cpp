#include "heft/checkpoint.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "record/support.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using test::SafetensorsBuilder;
using test::TempFolder;
using test::thrown_by;

namespace {

std::string four_bytes(char c) { return std::string(4, c); }

// Three tensors in an order that is not the alphabet's.
std::string small() {
  return SafetensorsBuilder()
      .metadata("format", "pt")
      .add("b.weight", "F32", {1}, four_bytes('b'))
      .add("a.weight", "F32", {1}, four_bytes('a'))
      .add("a.bias", "U8", {2, 2}, four_bytes('c'))
      .build();
}

std::vector<std::string> names_of(const TensorRange& range) {
  std::vector<std::string> names;
  for (const TensorView& tensor : range) names.emplace_back(tensor.name());
  return names;
}

}  // namespace

TEST_CASE("checkpoint: lists tensors in file order, with path and absolute offsets") {
  const TempFolder folder;
  const auto path = folder.write("m.safetensors", small());
  const Checkpoint checkpoint = open(path);
  CHECK(names_of(checkpoint.tensors()) == std::vector<std::string>{"b.weight", "a.weight", "a.bias"});
  const TensorView bias = checkpoint.tensor("a.bias");
  CHECK(bias.shape() == Shape{2, 2});
  CHECK(bias.shard_path() == path.string());
  CHECK(small().substr(bias.offset(), 4) == "cccc");
  CHECK(checkpoint.path() == path.string());
  CHECK(checkpoint.notes().empty());
}

TEST_CASE("checkpoint: its tables are those of names, entries and index, and of the tree once it is built") {
  const TempFolder folder;
  const std::string file = small();
  const Checkpoint checkpoint = open(folder.write("m.safetensors", file));
  const std::uint64_t before = checkpoint.table_bytes();
  constexpr std::uint64_t a_tensor = 8 + 16 + 4;     // where it is, its name, its place in the index, at least
  CHECK(before >= file.size() - 12 + 3 * a_tensor);  // the header is kept, not the 12 bytes of payload
  CHECK(before < 64 << 10);
  constexpr std::uint64_t nodes = 6;  // the root, a, b, and three leaves
  static_cast<void>(checkpoint.root());
  CHECK(checkpoint.table_bytes() >= before + nodes * 32);
  CHECK(checkpoint.table_bytes() < before + (64 << 10));
}

TEST_CASE("checkpoint: a range has a size and checks its bounds") {
  const TempFolder folder;
  const TensorRange range = open(folder.write("m.safetensors", small())).tensors();
  CHECK(range.size() == 3);
  CHECK(test::name_of(range[2]) == "a.bias");
  CHECK(thrown_by([&] { return range[3]; }).code() == ErrorCode::out_of_range);
}

TEST_CASE("checkpoint: names are selected by glob or expression, in file order") {
  const TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("m.safetensors", small()));
  CHECK(names_of(checkpoint.tensors("*.weight")) == std::vector<std::string>{"b.weight", "a.weight"});
  CHECK(names_of(checkpoint.tensors("re:a\\..*")) == std::vector<std::string>{"a.weight", "a.bias"});
  CHECK(checkpoint.tensors("none").empty());
  CHECK(thrown_by([&] { return checkpoint.tensors("[").size(); }).code() == ErrorCode::out_of_range);
}

TEST_CASE("checkpoint: find() returns nothing for an unknown name, tensor() reports the nearest one") {
  const TempFolder folder;
  const auto path = folder.write("m.safetensors", small());
  const Checkpoint checkpoint = open(path);
  CHECK(test::name_of(*checkpoint.find("a.weight")) == "a.weight");
  CHECK(!checkpoint.find("a"));
  CHECK(!checkpoint.find(""));
  const Error error = thrown_by([&] { return checkpoint.tensor("a.weigth"); });
  CHECK(error.code() == ErrorCode::not_found);
  CHECK(error.tensor() == "a.weigth");
  CHECK(error.path() == path.string());
  CHECK(error.message().find("did you mean 'a.weight'") != std::string::npos);
}

TEST_CASE("checkpoint: shards have path, format, size and number of tensors") {
  const TempFolder folder;
  const auto path = folder.write("m.safetensors", small());
  const Checkpoint checkpoint = open(path);
  REQUIRE(checkpoint.shards().size() == 1);
  const ShardInfo& shard = checkpoint.shards()[0];
  CHECK(shard.path == path.string());
  CHECK(shard.format == "safetensors");
  CHECK(shard.size_bytes == small().size());
  CHECK(shard.tensor_count == 3);
}

TEST_CASE("checkpoint: metadata is a map, or null if there is none") {
  const TempFolder folder;
  const Record metadata = open(folder.write("m.safetensors", small())).metadata();
  CHECK(metadata.kind() == RecordKind::map);
  CHECK(metadata["format"].text() == "pt");
  const auto bare = SafetensorsBuilder().add("x", "U8", {1}, "x").build();
  CHECK(open(folder.write("bare.safetensors", bare)).metadata().kind() == RecordKind::null);
}

TEST_CASE("checkpoint: Access::read maps nothing, and a truncated file is an Error") {
  const TempFolder folder;
  const auto path = folder.write("m.safetensors", small());
  const Checkpoint checkpoint = open(path, {.access = Access::read});
  const TensorView bias = checkpoint.tensor("a.bias");
  CHECK(bias.read<std::uint8_t>(0, 0) == 'c');
  CHECK(bias.as<std::uint8_t>()[3] == 'c');
  std::filesystem::resize_file(path, 16);
  CHECK(thrown_by([&] { return bias.bytes(); }).code() == ErrorCode::changed_on_disk);
}

TEST_CASE("checkpoint: a file without tensors opens, and holds none") {
  const TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("m.safetensors", SafetensorsBuilder().build()));
  CHECK(checkpoint.tensors().empty());
  CHECK(checkpoint.root().kind() == RecordKind::map);
  CHECK(checkpoint.root().size() == 0);
}

TEST_CASE("checkpoint: copies share what was opened; ranges and records outlive them") {
  const TempFolder folder;
  std::optional<Checkpoint> checkpoint = open(folder.write("m.safetensors", small()));
  const TensorRange range = Checkpoint(*checkpoint).tensors("a.*");
  const Record root = checkpoint->root();
  checkpoint.reset();
  CHECK(range[1].as<std::uint8_t>()[0] == 'c');
  CHECK(root["a"]["bias"].tensor().as<std::uint8_t>()[0] == 'c');
}

TEST_CASE("checkpoint: threads can look up names and build the tree concurrently") {
  const TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("m.safetensors", small()));
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        if (checkpoint.root()["a"]["weight"].tensor().offset() != checkpoint.tensor("a.weight").offset()) ++wrong;
        if (checkpoint.metadata()["format"].text() != "pt" || checkpoint.table_bytes() == 0) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}
