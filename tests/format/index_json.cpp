#include <fmt/format.h>

#include "format/formats.hpp"
#include "format/reading.hpp"
#include "support/fixtures.hpp"
#include "support/temp_folder.hpp"

namespace heft {
namespace {

using format::Catalog;
using format::index_json_format;
using format::NodeKind;

Catalog read(std::string_view file) { return test::read(index_json_format, file); }

std::string map_of(std::string_view pairs) { return fmt::format(R"({{"weight_map":{{{}}}}})", pairs); }

// The value of a key in the metadata.
const format::Node& metadata(const Catalog& catalog, std::string_view wanted) {
  const format::Node& map = catalog.nodes.at(catalog.metadata);
  REQUIRE(map.kind == NodeKind::map);
  for (std::uint64_t i = 0; i < map.count; ++i) {
    const format::Node& key = catalog.nodes.at(catalog.children.at(map.first + 2 * i));
    if (std::string_view(key.text, key.count) == wanted)
      return catalog.nodes.at(catalog.children.at(map.first + 2 * i + 1));
  }
  FAIL("no such key");
  return map;
}

TEST_CASE("index.json: tensors are located in shards, in the file's order, each shard once") {
  const Catalog catalog = read(
      R"({"metadata": {"total_size": 5}, "weight_map": {"b": "2.st", "a": "1.st", "c\u0021": "2.st", "d": "..\\\u0000/x"}})");
  CHECK(catalog.format == "index.json");
  CHECK(catalog.tensors.empty());
  CHECK(catalog.shards == std::vector<std::string_view>{"2.st", "1.st", std::string_view("..\\\0/x", 6)});
  REQUIRE(catalog.located.size() == 4);
  CHECK(catalog.located[0].name == "b");
  CHECK(catalog.located[0].shard == 0);
  CHECK(catalog.located[1].shard == 1);
  CHECK(catalog.located[2].name == "c!");
  CHECK(catalog.located[2].shard == 0);
  CHECK(catalog.located[3].shard == 2);
}

TEST_CASE("index.json: keeps metadata unchanged, with any type of total_size") {
  const Catalog integer = read(
      R"({"metadata":{"total_size":688586727753,"more":[true,null,{"a":-1}],"big":18446744073709551615},"weight_map":{}})");
  CHECK(metadata(integer, "total_size").kind == NodeKind::integer);
  CHECK(metadata(integer, "total_size").integer == 688586727753);
  CHECK(metadata(integer, "big").kind == NodeKind::unsigned_integer);
  CHECK(metadata(integer, "big").unsigned_integer == ~0ULL);
  const format::Node& list = metadata(integer, "more");
  CHECK(list.kind == NodeKind::list);
  CHECK(list.count == 3);
  CHECK(integer.nodes.at(integer.children.at(list.first)).kind == NodeKind::boolean);
  CHECK(integer.nodes.at(integer.children.at(list.first)).integer == 1);
  CHECK(integer.nodes.at(integer.children.at(list.first + 1)).kind == NodeKind::null);
  CHECK(integer.nodes.at(integer.children.at(list.first + 2)).kind == NodeKind::map);
  CHECK(metadata(read(R"({"weight_map":{},"metadata":{"total_size":1.5e3}})"), "total_size").real == 1500.0);
  const Catalog text = read(R"({"weight_map":{},"metadata":{"total_size":"15"}})");
  CHECK(std::string_view(metadata(text, "total_size").text, 2) == "15");
  CHECK(read(R"({"weight_map":{}})").metadata == format::none);
}

TEST_CASE("index.json: refuses hostile files, each with its reason") {
  constexpr auto corrupt = ErrorCode::corrupt;
  const test::Hostile rows[] = {
      {"an empty file", "", corrupt, "expected a JSON object, found the end"},
      {"another JSON file", R"({"architectures":["LlamaForCausalLM"]})", ErrorCode::unrecognized, "without weight_map"},
      {"a list", "[]", corrupt, "expected a JSON object"},
      {"two maps", R"({"weight_map":{},"weight_map":{}})", ErrorCode::ambiguous, "found a second"},
      {"two metadata", R"({"metadata":null,"metadata":{},"weight_map":{}})", ErrorCode::ambiguous, "found a second"},
      {"a metadata key twice", R"({"metadata":{"a":1,"a":1},"weight_map":{}})", ErrorCode::ambiguous,
       "the key 'a' occurs twice"},
      {"a name twice in one shard", map_of(R"("a":"1","a":"1")"), ErrorCode::ambiguous, "the name occurs twice"},
      {"a name twice in two shards", map_of(R"("a":"1","b":"1","\u0061":"2")"), ErrorCode::ambiguous,
       "the name occurs twice"},
      {"a map that is a list", R"({"weight_map":[]})", corrupt, "weight_map: expected an object, found a list"},
      {"a file name that is a number", map_of(R"("a":1)"), corrupt, "weight_map: expected a string, found 1"},
      {"a file name that is null", map_of(R"("a":null)"), corrupt, "weight_map: expected a string, found null"},
      {"malformed JSON in what is ignored", R"({"weight_map":{},"more":[1,]})", corrupt, "expected a value"},
      {"deep nesting in metadata",
       R"({"weight_map":{},"metadata":)" + std::string(50, '[') + std::string(50, ']') + "}", ErrorCode::limit_exceeded,
       "json_depth"},
      {"bytes after the end", R"({"weight_map":{}} x)", corrupt, "expected the end"},
  };
  test::check_refusals(index_json_format, rows);
}

TEST_CASE("index.json: an error names the tensor and the place") {
  const std::string file = map_of(R"("a":"1","b\n":2)");
  const auto error = test::refusal(index_json_format, file);
  REQUIRE(error);
  CHECK(error->tensor() == "b\n");
  REQUIRE(error->offset());
  CHECK(file.substr(*error->offset()) == "2}}");
}

TEST_CASE("index.json: applies the caller's limits") {
  const auto code = [](std::string_view file, const Limits& limits) {
    format::ReadOptions options;
    options.limits = limits;
    const auto error = test::refusal(index_json_format, file, options);
    REQUIRE(error);
    return name(error->code());
  };
  const std::string file = map_of(R"("a":"1","bb":"2")");
  Limits limits;
  limits.tensors = 1;
  CHECK(code(file, limits) == "limit_exceeded");
  limits = {};
  limits.shards = 1;
  CHECK(code(file, limits) == "limit_exceeded");
  limits = {};
  limits.name_bytes = 1;
  CHECK(code(file, limits) == "limit_exceeded");
  limits = {};
  limits.json_bytes = file.size() - 1;
  CHECK(code(file, limits) == "limit_exceeded");
}

TEST_CASE("index.json: every prefix is refused, every flipped bit refused or read") {
  const std::string file = R"({"metadata": {"total_size": 5}, "weight_map": {"a": "1.st", "b\"": "2.st"}})";
  CHECK(read(file).located.size() == 2);
  test::check_prefixes_refused(index_json_format, file);
  test::check_flipped_bits(index_json_format, file, file.size());
}

TEST_CASE("index.json: reads the indexes of fixtures without checking their file names") {
  const auto folder = test::fixtures("safetensors-synthetic/sharded");
  if (!folder) return;
  const auto index = [&](const char* name) {
    return test::content_of(*folder / name / "model.safetensors.index.json");
  };
  CHECK(read(index("ok")).shards ==
        std::vector<std::string_view>{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"});
  CHECK(read(index("traversal")).shards.at(0) == "../ok/model-00001-of-00002.safetensors");
  CHECK(read(index("absolute")).shards.at(0) == "/etc/passwd");
  CHECK(read(index("backslash")).shards.at(0) == "..\\ok\\model-00001-of-00002.safetensors");
  CHECK(read(index("nul_name")).shards.at(0) == std::string_view("model-00001-of-00002.safetensors\0x", 34));
  CHECK(test::refusal(index_json_format, index("nonstring")));
}

}  // namespace
}  // namespace heft
