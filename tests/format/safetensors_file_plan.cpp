#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "format/formats.hpp"
#include "format/planned_file.hpp"
#include "format/safetensors/writer.hpp"
#include "support/thrown.hpp"

using namespace heft;
using heft::format::FilePlan;
using heft::format::safetensors_file_plan;
using heft::format::TensorDeclaration;

namespace {

std::vector<std::string> names_in_order(const FilePlan& file, const std::vector<TensorDeclaration>& tensors) {
  std::vector<std::string> names;
  for (const auto& payload : file.payloads) names.push_back(tensors[payload.tensor].name);
  return names;
}

}  // namespace

TEST_CASE("safetensors file plan: lays tensors out by the size of their elements, then by name, without a gap") {
  const std::vector<TensorDeclaration> tensors = {
      {"z", DType::f32, Shape{2}}, {"flags", DType::boolean, Shape{3}}, {"b", DType::bf16, Shape{2, 2}},
      {"a", DType::f32, Shape{}},  {"n", DType::i64, Shape{1}},         {"empty", DType::f32, Shape{0, 4}},
  };
  const FilePlan file = safetensors_file_plan(tensors, {});
  CHECK(names_in_order(file, tensors) == std::vector<std::string>{"n", "a", "empty", "z", "b", "flags"});
  std::uint64_t end = file.payloads.front().offset;
  CHECK(end % 64 == 0);
  for (const auto& payload : file.payloads) {
    CHECK(payload.offset == end);
    CHECK(payload.size == bytes_for(tensors[payload.tensor].dtype, tensors[payload.tensor].shape));
    end += payload.size;
  }
  CHECK(file.size_bytes == end);
}

TEST_CASE("safetensors file plan: heft reads back names, dtypes, shapes and metadata of every dtype") {
  std::vector<TensorDeclaration> tensors;
  for (const DTypeInfo& type : dtypes()) {
    try {
      const std::vector<TensorDeclaration> alone = {{std::string(type.name), type.dtype, Shape{4, 8}}};
      static_cast<void>(safetensors_file_plan(alone, {}));
      tensors.push_back(alone.front());
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::unsupported);
    }
  }
  CHECK(tensors.size() == 22);
  const FilePlan file = safetensors_file_plan(tensors, {{"format", "pt"}, {"note \"quoted\"", "line\nnext \x01 é"}});
  const format::Catalog catalog = test::read(format::safetensors_format, file);
  REQUIRE(catalog.tensors.size() == tensors.size());
  for (std::size_t i = 0; i < catalog.tensors.size(); ++i) {
    const TensorDeclaration& declared = tensors[file.payloads[i].tensor];
    CHECK(catalog.tensors[i].name == declared.name);
    CHECK(catalog.tensors[i].dtype == declared.dtype);
    CHECK(catalog.tensors[i].begin == file.payloads[i].offset);
    CHECK(catalog.tensors[i].size == file.payloads[i].size);
  }
}

TEST_CASE("safetensors file plan: allows a file without tensors") {
  const FilePlan file = safetensors_file_plan({}, {});
  CHECK(file.size_bytes % 64 == 0);
  CHECK(test::read(format::safetensors_format, file).tensors.empty());
}

TEST_CASE("safetensors file plan: names are data, whatever they hold") {
  const std::vector<TensorDeclaration> tensors = {{"", DType::u8, Shape{1}},
                                                  {"../a/\"b\"\\", DType::u8, Shape{1}},
                                                  {std::string("nul\0nul", 7), DType::u8, Shape{1}}};
  const format::Catalog catalog = test::read(format::safetensors_format, safetensors_file_plan(tensors, {}));
  REQUIRE(catalog.tensors.size() == 3);
  CHECK(catalog.tensors[1].name == "../a/\"b\"\\");
  CHECK(catalog.tensors[2].name == std::string_view("nul\0nul", 7));
}

TEST_CASE("safetensors file plan: refuses what the format cannot represent") {
  const auto refused = [](std::vector<TensorDeclaration> tensors, const format::TextMetadata& metadata = {}) {
    return test::thrown_by([&] { return safetensors_file_plan(tensors, metadata); });
  };
  const Error block = refused({{"blk.0.attn_q.weight", DType::q4_k, Shape{256}}});
  CHECK(block.code() == ErrorCode::unsupported);
  CHECK(block.tensor() == "blk.0.attn_q.weight");
  CHECK(std::string(block.what()).find("q4_k") != std::string::npos);
  CHECK(refused({{"a", DType::qi8, Shape{1}}}).code() == ErrorCode::unsupported);
  CHECK(refused({{"a", DType::c128, Shape{1}}}).code() == ErrorCode::unsupported);
  CHECK(refused({{"a", DType::unknown, Shape{1}}}).code() == ErrorCode::unsupported);
  CHECK(refused({{"\xff", DType::f32, Shape{1}}}).code() == ErrorCode::unsupported);
  CHECK(refused({{"__metadata__", DType::f32, Shape{1}}}).code() == ErrorCode::unsupported);
  CHECK(refused({{"a", DType::f32, Shape{1}}, {"a", DType::f16, Shape{1}}}).code() == ErrorCode::ambiguous);
  CHECK(refused({}, {{"k", "1"}, {"k", "2"}}).code() == ErrorCode::ambiguous);
  CHECK(refused({}, {{"k", "\xff"}}).code() == ErrorCode::unsupported);
}

TEST_CASE("index: names the shard of each tensor") {
  const std::vector<std::pair<std::string, std::string>> map = {{"a\"b", "m-00001-of-00002.safetensors"},
                                                                {"c", "m-00002-of-00002.safetensors"}};
  CHECK(format::index_json(12, map) ==
        "{\n  \"metadata\": {\n    \"total_size\": 12\n  },\n  \"weight_map\": {\n    \"a\\\"b\": "
        "\"m-00001-of-00002.safetensors\",\n"
        "    \"c\": \"m-00002-of-00002.safetensors\"\n  }\n}\n");
  CHECK(format::index_json(0, {}) == "{\n  \"metadata\": {\n    \"total_size\": 0\n  },\n  \"weight_map\": {}\n}\n");
}
