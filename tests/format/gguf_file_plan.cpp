#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core/endian.hpp"
#include "format/formats.hpp"
#include "format/gguf/byte_reader.hpp"
#include "format/gguf/writer.hpp"
#include "format/planned_file.hpp"
#include "format/reading.hpp"
#include "support/thrown.hpp"

using namespace heft;
using heft::format::FilePlan;
using heft::format::gguf_file_plan;
using heft::format::GgufPair;
using heft::format::TensorDeclaration;
using heft::format::gguf::ValueType;

namespace {

template <class T>
GgufPair number(std::string key, ValueType type, T value) {
  GgufPair pair{.key = std::move(key), .type = type, .value = {}};
  core::append_le(pair.value, value);
  return pair;
}

GgufPair text(std::string key, std::string_view value) {
  GgufPair pair{.key = std::move(key), .type = ValueType::string, .value = {}};
  format::gguf::append_string(pair.value, value);
  return pair;
}

}  // namespace

TEST_CASE("gguf file plan: heft reads back every dtype that ggml has, blocks too, in the order given") {
  std::vector<TensorDeclaration> tensors;
  for (const DTypeInfo& type : dtypes()) {
    const std::vector<TensorDeclaration> alone = {{"blk." + std::string(type.name), type.dtype, Shape{3, 512}}};
    try {
      static_cast<void>(gguf_file_plan(alone, {}));
      tensors.push_back(alone.front());
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::unsupported);
      CHECK(error.tensor() == alone.front().name);
    }
  }
  CHECK(tensors.size() == 35);
  const FilePlan file = gguf_file_plan(tensors, {});
  const format::Catalog catalog = test::read(format::gguf_format, file);
  CHECK(catalog.notes.empty());  // no gap, no odd order, nothing after the last
  CHECK(catalog.detail == "GGUF v3");
  REQUIRE(catalog.tensors.size() == tensors.size());
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    CAPTURE(tensors[i].name);
    const format::TensorEntry& entry = catalog.tensors[i];
    CHECK(entry.name == tensors[i].name);
    CHECK(entry.dtype == tensors[i].dtype);
    CHECK(entry.begin == file.payloads[i].offset);
    CHECK(entry.begin % 32 == 0);
    CHECK(entry.begin >= end);
    CHECK(Shape(catalog.sizes(entry)) == Shape{3, 512});
    end = entry.begin + entry.size;
  }
  CHECK(file.size_bytes % 32 == 0);  // the last tensor is filled up as well
}

TEST_CASE("gguf file plan: lists dims innermost first, and none for a scalar") {
  const std::vector<TensorDeclaration> tensors = {
      {"t", DType::f32, Shape{2, 3, 5}}, {"s", DType::f32, Shape{}}, {"e", DType::f16, Shape{0, 4}}};
  const std::string file = test::PlannedFile(gguf_file_plan(tensors, {})).whole();
  CHECK(file.starts_with(std::string("GGUF\3\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24)));
  std::string described;
  core::append_le(described, std::uint32_t{3});
  for (const std::uint64_t dim : {5, 3, 2}) core::append_le(described, dim);
  CHECK(file.find("t" + described) != std::string::npos);
  const format::Catalog catalog = test::read(format::gguf_format, gguf_file_plan(tensors, {}));
  CHECK(Shape(catalog.sizes(catalog.tensors[0])) == Shape{2, 3, 5});
}

TEST_CASE("gguf file plan: aligns the data to general.alignment") {
  const std::vector<TensorDeclaration> tensors = {{"a", DType::i8, Shape{3}}, {"b", DType::f32, Shape{2}}};
  for (const std::uint32_t alignment : {1u, 8u, 64u, 4096u}) {
    CAPTURE(alignment);
    const std::vector<GgufPair> metadata = {text("general.name", "x"),
                                            number("general.alignment", ValueType::u32, alignment)};
    const FilePlan file = gguf_file_plan(tensors, metadata);
    for (const format::Payload& payload : file.payloads) CHECK(payload.offset % alignment == 0);
    const format::Catalog catalog = test::read(format::gguf_format, file);
    CHECK(catalog.tensors[1].begin == file.payloads[1].offset);
    CHECK(catalog.notes.empty());
  }
  const auto refused = [&](GgufPair pair) {
    return test::thrown_by([&] { return gguf_file_plan(tensors, std::vector<GgufPair>{pair}); }).code();
  };
  CHECK(refused(number("general.alignment", ValueType::u32, std::uint32_t{48})) == ErrorCode::unsupported);
  CHECK(refused(number("general.alignment", ValueType::u32, std::uint32_t{0})) == ErrorCode::unsupported);
  CHECK(refused(number("general.alignment", ValueType::u64, std::uint64_t{64})) == ErrorCode::unsupported);
  CHECK(refused(text("general.alignment", "64")) == ErrorCode::unsupported);
}

TEST_CASE("gguf file plan: allows metadata without tensors, as in vocabularies") {
  const FilePlan file = gguf_file_plan({}, std::vector<GgufPair>{text("general.architecture", "llama")});
  const format::Catalog catalog = test::read(format::gguf_format, file);
  CHECK(catalog.tensors.empty());
  const format::Node* value = catalog.find_key(catalog.metadata, "general.architecture");
  REQUIRE(value != nullptr);
  CHECK(std::string_view(value->text, value->count) == "llama");
}

TEST_CASE("gguf file plan: refuses what ggml cannot represent, by name") {
  const auto refused = [](TensorDeclaration tensor) {
    const std::string name = tensor.name;
    const Error error = test::thrown_by([&] { return gguf_file_plan(std::vector<TensorDeclaration>{tensor}, {}); });
    CHECK(error.tensor() == name);
    return error;
  };
  CHECK(refused({"flags", DType::boolean, Shape{1}}).message() == "GGUF has no dtype for bool");
  for (const DType dtype : {DType::u8, DType::u64, DType::c64, DType::f8_e4m3, DType::unknown})
    CHECK(refused({"w", dtype, Shape{2}}).code() == ErrorCode::unsupported);
  const Error name = refused({std::string(64, 'n'), DType::f32, Shape{1}});
  CHECK(name.code() == ErrorCode::unsupported);
  CHECK(name.message() == "expected a name of at most 63 bytes, which ggml reads, found 64; rename the tensor");
  CHECK(refused({"\xff", DType::f32, Shape{1}}).code() == ErrorCode::unsupported);
  CHECK(refused({std::string("a\0", 2), DType::f32, Shape{1}}).code() == ErrorCode::unsupported);
  CHECK(refused({"deep", DType::f32, Shape{1, 1, 1, 1, 1}}).code() == ErrorCode::unsupported);
  CHECK_NOTHROW(static_cast<void>(
      gguf_file_plan(std::vector<TensorDeclaration>{{std::string(63, 'n'), DType::f32, Shape{1, 1, 1, 1}}}, {})));

  const std::vector<TensorDeclaration> twins = {{"a", DType::f32, Shape{1}}, {"a", DType::f16, Shape{1}}};
  CHECK(test::thrown_by([&] { return gguf_file_plan(twins, {}); }).code() == ErrorCode::ambiguous);
  const auto refused_pairs = [](std::vector<GgufPair> pairs) {
    return test::thrown_by([&] { return gguf_file_plan({}, pairs); }).code();
  };
  CHECK(refused_pairs({text("k", "1"), text("k", "2")}) == ErrorCode::ambiguous);
  CHECK(refused_pairs({text("", "1")}) == ErrorCode::unsupported);
  CHECK(refused_pairs({text(std::string("k\0", 2), "1")}) == ErrorCode::unsupported);
  CHECK(refused_pairs({text(std::string(65536, 'k'), "1")}) == ErrorCode::unsupported);
}
