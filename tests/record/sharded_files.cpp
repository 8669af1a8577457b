// Safetensors files of torch.distributed.checkpoint without an index: the pieces of all ranks are whole tensors.
#include "record/sharded_files.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "record/support.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using test::packed;
using test::SafetensorsBuilder;
using test::TempFolder;

namespace {

struct Part {
  std::string name;
  std::vector<std::int64_t> sizes;
  std::string offsets;  // "[0, 2]"
  std::vector<float> values;
};

std::string rank_file(const std::vector<Part>& parts) {
  SafetensorsBuilder builder;
  std::string info;
  for (const Part& part : parts) {
    builder.add(part.name, "F32", part.sizes, packed<float>(part.values));
    info += (info.empty() ? "{\"" : ", \"") + part.name + "\": {\"saved_offsets\": " + part.offsets + "}";
  }
  return builder.metadata("format", "pt")
      .metadata("DCP_VERSION", "1.0")
      .metadata("DCP_SHARDING_INFO", info + "}")
      .build();
}

std::string name_of_rank(int rank) { return "shard-0000" + std::to_string(rank) + "-model-00001-of-00001.safetensors"; }

std::string refusal(const TempFolder& folder, ErrorCode code) {
  const Error error = test::thrown_by([&] { return open(folder.path()); });
  CHECK(error.code() == code);
  CHECK_FALSE(error.path().empty());
  return error.what();
}

}  // namespace

TEST_CASE("rank files: the pieces of all ranks are one checkpoint") {
  const TempFolder folder;
  const std::string first =
      rank_file({{"w", {2, 2}, "[0, 0]", {0, 1, 3, 4}}, {"b", {2}, "[0]", {7, 8}}, {"none", {0, 2}, "[0, 0]", {}}});
  folder.write(name_of_rank(1), first);
  folder.write(name_of_rank(2), rank_file({{"w", {2, 1}, "[0, 2]", {2, 5}}}));
  folder.write("config.json", "{}");
  const Checkpoint checkpoint = open(folder.path());
  CHECK(checkpoint.tensors().size() == 3);
  CHECK(test::shape_of(checkpoint.tensor("w")) == Shape{2, 3});
  CHECK(test::values_of(checkpoint.tensor("w")) == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(test::count_of_pieces(checkpoint.tensor("w")) == 2);
  CHECK(test::values_of(checkpoint.tensor("b")) == std::vector<float>{7, 8});
  CHECK(test::count_of_pieces(checkpoint.tensor("b")) == 0);
  CHECK(test::shape_of(checkpoint.tensor("none")) == Shape{0, 2});
  CHECK(checkpoint.notes().empty());
}

TEST_CASE("rank files: a single file has a note, a whole one has none") {
  const TempFolder folder;
  const std::string later = rank_file({{"w", {2}, "[2]", {2, 3}}, {"v", {1}, "[0]", {4}}});
  for (const std::string& name : {name_of_rank(2), std::string("renamed.safetensors")}) {
    const Checkpoint alone = open(folder.write(name, later));
    REQUIRE(alone.notes().size() == 1);
    CHECK(alone.notes()[0].find("one rank's pieces of 2 tensors ('w' and 'v')") != std::string::npos);
    CHECK(alone.notes()[0].find("open the folder") != std::string::npos);
  }
  const std::string whole = rank_file({{"w", {2}, "[0]", {2, 3}}});
  const Checkpoint first = open(folder.write(name_of_rank(1), whole));
  CHECK(first.notes().size() == 1);
  const Checkpoint consolidated = open(folder.write("model-00001-of-00001.safetensors", whole));
  CHECK(consolidated.notes().empty());
}

TEST_CASE("rank files: refuses incomplete pieces, with the tensor") {
  const Part first{"w", {2}, "[0]", {0, 1}};
  const std::pair<Part, std::string_view> table[] = {
      {{"w", {2}, "[1]", {1, 2}}, "overlap"},
      {{"w", {2}, "[4]", {4, 5}}, "one may be missing"},
      {{"w", {1, 2}, "[0, 2]", {2, 3}}, "dims"},
      {{"w", {2}, "[2, 0]", {2, 3}}, "saved_offsets"},
      {{"w", {2}, "[9223372036854775807]", {2, 3}}, "past any tensor"},
      {{"w", {2}, "[-2]", {2, 3}}, "DCP_SHARDING_INFO"},
      {{"w", {2}, "2", {2, 3}}, "DCP_SHARDING_INFO"},
  };
  for (const auto& [second, words] : table) {
    const TempFolder folder;
    folder.write(name_of_rank(1), rank_file({first}));
    folder.write(name_of_rank(2), rank_file({second}));
    const std::string said = refusal(folder, ErrorCode::corrupt);
    CHECK_MESSAGE(said.find(words) != std::string::npos, said);
  }
  const TempFolder folder;
  folder.write(name_of_rank(1), rank_file({first}));
  folder.write(name_of_rank(2), SafetensorsBuilder().add("w", "F32", {1}, "abcd").build());
  CHECK(refusal(folder, ErrorCode::corrupt).find("expected the metadata DCP_SHARDING_INFO") != std::string::npos);
}

TEST_CASE("rank files: are recognized by the pattern of their names alone") {
  for (const std::string_view name :
       {"shard-00001-model-00001-of-00001.safetensors", "shard-1-model-2-of-3.safetensors"})
    CHECK(record::is_rank_file(name));
  for (const std::string_view name :
       {"shard-00001-model-00001-of-00001.bin", "shard-model-00001-of-00001.safetensors", "shard-1-model.safetensors",
        "shard-1-model-.safetensors", "model-00001-of-00001.safetensors", "shard-", ""})
    CHECK_FALSE(record::is_rank_file(name));
}
