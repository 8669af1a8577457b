#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "heft/checkpoint.hpp"
#include "record/support.hpp"
#include "support/gguf_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using test::names_of;
using test::SafetensorsBuilder;
using test::TempFolder;
using test::thrown_by;

namespace {

// A file of one-byte tensors whose bytes are `value`.
std::string file_of(const std::vector<std::string>& names, char value = 'x') {
  SafetensorsBuilder builder;
  for (const std::string& name : names) builder.add(name, "U8", {1}, std::string(1, value));
  return builder.build();
}

std::string index_of(const std::vector<std::pair<std::string, std::string>>& map, const std::string& metadata = "{}") {
  std::string json = "{\"metadata\": " + metadata + ", \"weight_map\": {";
  for (const auto& [name, file] : map) json += (json.back() == '{' ? "\"" : ", \"") + name + "\": \"" + file + "\"";
  return json + "}}";
}

ErrorCode code_of(const std::filesystem::path& path, const OpenOptions& options = {}) {
  return thrown_by([&] { return open(path, options); }).code();
}

}  // namespace

TEST_CASE("open: reports a missing, an empty and an unknown file with its path") {
  const TempFolder folder;
  CHECK(code_of(folder.path() / "none") == ErrorCode::not_found);
  CHECK(code_of(folder.write("empty", "")) == ErrorCode::unrecognized);
  const Error error = thrown_by([&] { return open(folder.write("noise", "no weights at all")); });
  CHECK(error.code() == ErrorCode::unrecognized);
  CHECK(error.path() == (folder.path() / "noise").string());
  CHECK(error.message().find("this is text, 'no weights at all'") != std::string::npos);
}

TEST_CASE("open: refuses unsupported formats by name") {
  const TempFolder folder;
  for (const auto& [head, words] : {std::pair<std::string, const char*>{"PYTORCH1", "preview release"},
                                    {"PK\x05\x06" + std::string(18, '\0'), "empty zip"},
                                    {"\x89HDF\r\n\x1a\n", "HDF5"},
                                    {"tjgg\x03", "ggjt"}}) {
    const Error error = thrown_by([&] { return open(folder.write("stranger", head)); });
    CHECK(error.code() == ErrorCode::unsupported);
    CHECK(error.message().find(words) != std::string::npos);
  }
}

TEST_CASE("open: errors of a format contain the path of the file") {
  const TempFolder folder;
  const auto path = folder.write(
      "m.safetensors", test::safetensors_file("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", "x"));
  const Error error = thrown_by([&] { return open(path); });
  CHECK(error.code() == ErrorCode::corrupt);
  CHECK(error.path() == path.string());
}

TEST_CASE("open: an index loads exactly what it names, shards in its order") {
  const TempFolder folder;
  folder.write("one.safetensors", file_of({"a", "b"}, '1'));
  folder.write("two.safetensors", file_of({"c", "a", "extra"}, '2'));
  const auto index =
      folder.write("model.safetensors.index.json",
                   index_of({{"c", "two.safetensors"}, {"a", "one.safetensors"}, {"b", "one.safetensors"}}));
  for (const auto& path : {index, folder.path()}) {
    const Checkpoint checkpoint = open(path);
    CHECK(names_of(checkpoint) == std::vector<std::string>{"c", "a", "b"});
    CHECK(checkpoint.tensor("a").read<std::uint8_t>(0) == '1');
    CHECK(!checkpoint.find("extra"));
    REQUIRE(checkpoint.shards().size() == 2);
    CHECK(checkpoint.shards()[0].tensor_count == 1);
    CHECK(checkpoint.shards()[1].tensor_count == 2);
    REQUIRE(checkpoint.notes().size() == 2);
    CHECK(checkpoint.notes()[0].find("1 tensor found in several shards, and read from the one in the index: 'a'") !=
          std::string::npos);
    CHECK(checkpoint.notes()[1].find("two.safetensors: 1 tensor that the index does not name is left out") !=
          std::string::npos);
  }
}

TEST_CASE("open: the index decides between shards that both have a tensor") {
  const TempFolder folder;
  folder.write("one.safetensors", file_of({"a"}, '1'));
  folder.write("two.safetensors", file_of({"a"}, '2'));
  const auto index = folder.write("i.index.json", index_of({{"a", "two.safetensors"}, {"b", "one.safetensors"}}));
  CHECK(open(index).tensor("a").read<std::uint8_t>(0) == '2');
  folder.write("one.safetensors", file_of({"a", "b"}, '1'));
  CHECK(open(index).tensor("a").read<std::uint8_t>(0) == '2');
}

TEST_CASE("open: contradictions between index and shards are errors") {
  const TempFolder folder;
  folder.write("one.safetensors", file_of({"a"}));
  const auto try_index = [&](const std::string& json) {
    return thrown_by([&] { return open(folder.write("m.index.json", json)); });
  };
  CHECK(try_index(index_of({{"a", "none.safetensors"}})).code() == ErrorCode::not_found);
  CHECK(try_index(index_of({{"a", "m.index.json"}})).code() == ErrorCode::corrupt);
  folder.write("bad.safetensors", "bad");
  CHECK(try_index(index_of({{"a", "bad.safetensors"}})).code() == ErrorCode::unrecognized);
}

TEST_CASE("open: names that leave the folder are refused before anything is opened") {
  const TempFolder folder;
  folder.write("outside.safetensors", file_of({"a"}));
  const std::string outside = (folder.path() / "outside.safetensors").string();
  for (const std::string& name :
       {std::string("../outside.safetensors"), outside, std::string("."), std::string(".."), std::string("sub/x"),
        std::string("a\\\\b"), std::string("x\\u0000y"), std::string("x\\n"), std::string(), std::string(256, 'n')}) {
    INFO(name);
    const auto index = folder.write("model/m.index.json", index_of({{"a", name}}));
    const Error error = thrown_by([&] { return open(index); });
    CHECK(error.code() == ErrorCode::refused);
    CHECK(error.path() == index.string());
  }
}

TEST_CASE("open: follows symlinks of a cache, and refuses them on request") {
  const TempFolder folder;
  folder.write("blobs/1111", file_of({"a"}, '1'));
  folder.write("blobs/2222", index_of({{"a", "model-00001-of-00001.safetensors"}}));
  const auto snapshot = folder.path() / "snapshots" / "main";
  std::filesystem::create_directories(snapshot);
  std::filesystem::create_symlink("../../blobs/1111", snapshot / "model-00001-of-00001.safetensors");
  std::filesystem::create_symlink("../../blobs/2222", snapshot / "model.safetensors.index.json");
  CHECK(open(snapshot).tensor("a").read<std::uint8_t>(0) == '1');
  CHECK(open(snapshot / "model.safetensors.index.json").tensor("a").read<std::uint8_t>(0) == '1');
  CHECK(code_of(snapshot, {.follow_symlinks = false}) == ErrorCode::refused);
}

TEST_CASE("open: one file under two names is opened once") {
  const TempFolder folder;
  folder.write("one.safetensors", file_of({"a", "b"}));
  std::filesystem::create_symlink("one.safetensors", folder.path() / "two.safetensors");
  std::filesystem::create_hard_link(folder.path() / "one.safetensors", folder.path() / "three.safetensors");
  const Checkpoint checkpoint =
      open(folder.write("m.index.json", index_of({{"a", "one.safetensors"}, {"b", "two.safetensors"}})));
  CHECK(checkpoint.shards().size() == 1);
  CHECK(names_of(checkpoint) == std::vector<std::string>{"a", "b"});
  const Checkpoint linked =
      open(folder.write("m.index.json", index_of({{"a", "one.safetensors"}, {"b", "three.safetensors"}})));
  CHECK(linked.shards().size() == 1);
}

TEST_CASE("open: a wrong total_size in any form is a note") {
  const TempFolder folder;
  folder.write("one.safetensors", file_of({"a", "b"}));
  const auto notes = [&](const std::string& metadata) {
    const Checkpoint checkpoint =
        open(folder.write("m.index.json", index_of({{"a", "one.safetensors"}, {"b", "one.safetensors"}}, metadata)));
    return checkpoint.notes();
  };
  CHECK(notes("{}").empty());
  CHECK(notes("{\"total_size\": 2}").empty());
  CHECK(notes("{\"total_size\": 2.0}").empty());
  CHECK(notes("{\"total_size\": \"2\"}").empty());
  REQUIRE(notes("{\"total_size\": 12}").size() == 1);
  CHECK(notes("{\"total_size\": 12}")[0].find("total_size is 12, the tensors have 2 bytes") != std::string::npos);
}

TEST_CASE("open: looks for the files of a folder in Hugging Face's order") {
  const TempFolder folder;
  const auto first = [&] { return test::name_of(open(folder.path()).tensors()[0]); };
  CHECK(code_of(folder.path()) == ErrorCode::not_found);
  folder.write("config.json", "{}");
  folder.write("other.safetensors", file_of({"any"}));
  CHECK(first() == "any");
  folder.write("model.fp16.safetensors.index.json", index_of({{"any", "other.safetensors"}}));
  CHECK(open(folder.path()).tensors().size() == 1);
  folder.write("shard.safetensors", file_of({"sharded"}));
  folder.write("model.safetensors.index.json", index_of({{"sharded", "shard.safetensors"}}));
  CHECK(first() == "sharded");
  folder.write("model.safetensors", file_of({"single"}));
  CHECK(first() == "single");
}

TEST_CASE("open: opens all numbered parts of a folder without an index, if they are complete") {
  const TempFolder folder;
  folder.write("model-00002-of-00002.safetensors", file_of({"b"}));
  folder.write("model-00001-of-00002.safetensors", file_of({"a"}));
  CHECK(names_of(open(folder.path())) == std::vector<std::string>{"a", "b"});
  folder.write("model-00002-of-00002.safetensors", file_of({"a"}));
  const Error twice = thrown_by([&] { return open(folder.path()); });
  CHECK(twice.code() == ErrorCode::ambiguous);
  CHECK(twice.tensor() == "a");
  folder.write("other-00001-of-00001.safetensors", file_of({"c"}));
  CHECK(code_of(folder.path()) == ErrorCode::ambiguous);
  const TempFolder lacking;
  lacking.write("model-00001-of-00003.safetensors", file_of({"a"}));
  lacking.write("model-00002-of-00003.safetensors", file_of({"b"}));
  CHECK(code_of(lacking.path()) == ErrorCode::not_found);
}

TEST_CASE("open: a folder with several checkpoints is ambiguous and names some") {
  const TempFolder folder;
  folder.write("a.safetensors", file_of({"a"}));
  folder.write("b.safetensors", file_of({"b"}));
  const Error error = thrown_by([&] { return open(folder.path()); });
  CHECK(error.code() == ErrorCode::ambiguous);
  CHECK(error.message().find("'a.safetensors' and 'b.safetensors'") != std::string::npos);
  const TempFolder variants;
  variants.write("x.safetensors", file_of({"a"}));
  variants.write("model.fp16.safetensors.index.json", index_of({{"a", "x.safetensors"}}));
  variants.write("model.fp32.safetensors.index.json", index_of({{"a", "x.safetensors"}}));
  CHECK(code_of(variants.path()) == ErrorCode::ambiguous);
}

TEST_CASE("open: limits on tensors and shards apply to the whole checkpoint") {
  const TempFolder folder;
  folder.write("model-00001-of-00002.safetensors", file_of({"a", "b"}));
  folder.write("model-00002-of-00002.safetensors", file_of({"c", "d"}));
  OpenOptions options;
  options.limits.tensors = 3;
  CHECK(code_of(folder.path(), options) == ErrorCode::limit_exceeded);
  options.limits.tensors = 4;
  CHECK(open(folder.path(), options).tensors().size() == 4);
}

namespace {

std::string split_part(unsigned number, unsigned count, int tensors, const std::vector<std::string>& names) {
  test::GgufBuilder builder;
  const auto u16 = [&](unsigned value) { return builder.number(static_cast<std::uint16_t>(value)); };
  builder.pair("split.no", test::GgufValue::u16, u16(number));
  builder.pair("split.count", test::GgufValue::u16, u16(count));
  builder.pair("split.tensors.count", test::GgufValue::i32, builder.number(static_cast<std::int32_t>(tensors)));
  for (const std::string& name : names) builder.tensor(name, {1}, 0, std::string(4, 'x'));
  return builder.build();
}

}  // namespace

TEST_CASE("open: any part of a GGUF split opens all of it") {
  const TempFolder folder;
  const auto one = folder.write("m-00001-of-00002.gguf", split_part(0, 2, 3, {"a", "b"}));
  const auto two = folder.write("m-00002-of-00002.gguf", split_part(1, 2, 3, {"c"}));
  for (const auto& path : {one, two, folder.path()}) {
    const Checkpoint checkpoint = open(path);
    CHECK(names_of(checkpoint) == std::vector<std::string>{"a", "b", "c"});
    CHECK(checkpoint.shards().size() == 2);
  }
}

TEST_CASE("open: parts of a GGUF split must declare the same split") {
  const TempFolder folder;
  const auto one = folder.write("m-00001-of-00002.gguf", split_part(0, 2, 3, {"a", "b"}));
  CHECK(code_of(one) == ErrorCode::not_found);
  const auto second = [&](const std::string& content) {
    folder.write("m-00002-of-00002.gguf", content);
    return code_of(one);
  };
  CHECK(second(split_part(1, 2, 3, {"a"})) == ErrorCode::ambiguous);
  CHECK(second(split_part(1, 2, 3, {"c", "d"})) == ErrorCode::corrupt);
  CHECK(second(split_part(1, 2, 4, {"c", "d"})) == ErrorCode::corrupt);
  CHECK(second(split_part(0, 2, 3, {"c"})) == ErrorCode::ambiguous);
  CHECK(second(test::GgufBuilder().tensor("c", {1}, 0, "xxxx").build()) == ErrorCode::corrupt);
}
