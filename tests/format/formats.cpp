#include "format/formats.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "format/gguf/writer.hpp"
#include "format/reading.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace heft {
namespace {

const format::Format* recognized(std::string_view file) {
  return format::recognize(std::as_bytes(std::span(file)).first(std::min(file.size(), format::head_bytes)),
                           file.size());
}

TEST_CASE("formats: each has a unique name, a test and a reader") {
  std::set<std::string_view> names;
  for (const format::Format* format : format::formats()) {
    CAPTURE(std::string(format->name));
    CHECK_FALSE(format->name.empty());
    CHECK(names.insert(format->name).second);
    const bool complete = format->matches != nullptr && format->read != nullptr;
    CHECK(complete);
  }
}

TEST_CASE("formats: a file is recognized by its first bytes") {
  CHECK(recognized(test::SafetensorsBuilder().add("a", "U8", {}, "a").build()) == &format::safetensors_format);
  CHECK(recognized(R"({"weight_map": {}})") == &format::index_json_format);
  CHECK(recognized("\n {}") == &format::index_json_format);
  CHECK(recognized("NRUB\x01") == &format::burnpack_format);
  CHECK(recognized("\x82\xA8metadata\x80\xA4item\x80") == &format::burn_record_format);
  CHECK(recognized("\x1F\x8B\x08") == &format::burn_record_format);
  CHECK(recognized("\x81\xA1w\xC0") == &format::flax_format);
  CHECK(recognized("7z\xBC\xAF\x27\x1C") == &format::refused_format);
  CHECK(recognized("") == nullptr);
  CHECK(recognized("hello") == nullptr);
}

TEST_CASE("formats: no file of one byte repeated makes any of them overstep") {
  for (int byte = 0; byte < 256; ++byte)
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{9}, std::size_t{300}}) {
      const std::string file(size, static_cast<char>(byte));
      const format::Format* format = recognized(file);
      if (format != nullptr) static_cast<void>(test::refusal(*format, file));
    }
}

TEST_CASE("formats: recognizes fixtures of other programs") {
  const auto folder = test::fixtures("");
  if (!folder) return;
  struct Row {
    const char* file;
    std::string_view format;
  };
  const Row rows[] = {
      {"safetensors-synthetic/ok/upstream_basic.safetensors", "safetensors"},
      {"safetensors-synthetic/ok/upstream_trailing_ws.safetensors", "safetensors"},
      {"safetensors-synthetic/sharded/ok/model.safetensors.index.json", "index.json"},
      {"run-ai+runai-model-streamer/py/runai_model_streamer/runai_model_streamer/safetensors_streamer/tests/test_files/"
       "test_empty.safetensors",
       "safetensors"},
      {"ggml-reference-output/all-types.gguf", "gguf"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.file));
    const format::Format* format = recognized(test::content_of(*folder / row.file));
    REQUIRE(format != nullptr);
    CHECK(format->name == row.format);
    CHECK(format::find_format(row.format) == format);
  }
}

TEST_CASE("formats: each that is written has a suffix that heft reads, with the caller's limits") {
  const std::vector<format::TensorDeclaration> two = {{"a", DType::f32, Shape{2}}, {"b", DType::f32, Shape{2}}};
  std::vector<std::string> names;
  for (const format::Format* format : format::formats()) {
    if (format->writer == nullptr) continue;
    CAPTURE(format->name);
    names.emplace_back(format->name);
    CHECK(!format->reads.empty());
    CHECK(format->suffixes.starts_with('.'));
    CHECK(format->writer->has(DType::f32));
    CHECK(!format->writer->has(DType::unknown));
    std::vector<std::string> notes;
    const format::FilePlan plan = format->writer->layout({}, {}, notes)(two);
    CHECK(plan.payloads.size() == 2);
    CHECK(notes.empty());
    if (format->writer->index != nullptr) continue;
    const format::FileLayout small = format->writer->layout({}, {.tensors = 1, .zip_entries = 1}, notes);
    CHECK(test::thrown_by([&] { return small(two); }).code() == ErrorCode::limit_exceeded);
  }
  for (const char* name : {"safetensors", "gguf", "npz"}) CHECK(std::ranges::count(names, name) == 1);
}

TEST_CASE("formats: a writer notes the metadata that it cannot keep, and replaces pairs of added keys") {
  const auto number = [](double value) {
    format::MetadataValue made;
    made.node.kind = format::NodeKind::real;
    made.node.real = value;
    return made;
  };
  format::MetadataValue list;
  list.node.kind = format::NodeKind::list;
  list.node.count = 2;
  list.item = [&](std::size_t position) { return number(static_cast<double>(position)); };
  const std::vector<std::pair<std::string, std::string>> added = {{"k", "first"}, {"k", "last"}};
  const std::vector<format::TensorDeclaration> one = {{"a", DType::f32, Shape{2}}};
  std::vector<std::string> notes;
  const std::string head = format::safetensors_format.writer
                               ->layout({.kept = {{"list", list}, {"k", number(0.5)}}, .added = added}, {}, notes)(one)
                               .segments.front()
                               .bytes;
  CHECK(head.find(R"("__metadata__":{"k":"last"})") != std::string::npos);
  CHECK(notes == std::vector<std::string>{"1 metadata value is not kept: safetensors has texts only"});
  notes.clear();
  const std::vector<format::GgufPair> pairs =
      format::gguf::encode_metadata({.kept = {{"list", list}, {"nothing", {}}}, .added = added}, {}, notes);
  REQUIRE(pairs.size() == 2);
  CHECK(pairs[0].type == format::gguf::ValueType::array);
  CHECK(pairs[0].value.size() == 12 + 16);
  CHECK(pairs[1].value.ends_with("last"));
  CHECK(notes == std::vector<std::string>{"1 metadata value is not kept: GGUF has no type for it"});
  CHECK(test::thrown_by([&] {
          return format::gguf::encode_metadata({.kept = {{"list", list}}}, {.metadata_items = 2}, notes).size();
        }).code() == ErrorCode::limit_exceeded);
}

TEST_CASE("formats: each is found by its name, and options of a family are for its formats") {
  std::size_t torch = 0;
  std::size_t numpy = 0;
  for (const format::Format* format : format::formats()) {
    CAPTURE(format->name);
    CHECK(format::find_format(format->name) == format);
    torch += format->family == format::Family::torch ? 1 : 0;
    numpy += format->family == format::Family::numpy ? 1 : 0;
    CHECK((!format->may_lack_byte_order || format->family == format::Family::torch));
  }
  CHECK(torch == 5);
  CHECK(numpy == 2);
  CHECK(format::find_format("params.json") == nullptr);
}

}  // namespace
}  // namespace heft
