#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "format/archive/zip_directory.hpp"
#include "format/formats.hpp"
#include "format/numpy/npz_writer.hpp"
#include "format/planned_file.hpp"
#include "format/reading.hpp"
#include "support/thrown.hpp"

using namespace heft;
using heft::format::FilePlan;
using heft::format::npz_file_plan;
using heft::format::TensorDeclaration;

namespace {

std::vector<TensorDeclaration> of_every_dtype() {
  std::vector<TensorDeclaration> tensors;
  for (const DTypeInfo& type : dtypes()) {
    const std::vector<TensorDeclaration> alone = {{"m." + std::string(type.name), type.dtype, Shape{3, 4}}};
    try {
      static_cast<void>(npz_file_plan(alone));
      tensors.push_back(alone.front());
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::unsupported);
      CHECK(error.tensor() == alone.front().name);
    }
  }
  return tensors;
}

}  // namespace

TEST_CASE(
    "npz file plan: heft reads back every dtype that numpy has, aligned, in the order given, with right checksums") {
  const std::vector<TensorDeclaration> tensors = of_every_dtype();
  CHECK(tensors.size() == 14);
  const FilePlan file = npz_file_plan(tensors);
  const format::Catalog catalog = test::read(format::npz_format, file);
  CHECK(catalog.notes.empty());
  REQUIRE(catalog.tensors.size() == tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    CAPTURE(tensors[i].name);
    CHECK(catalog.tensors[i].name == tensors[i].name);
    CHECK(catalog.tensors[i].dtype == tensors[i].dtype);
    CHECK(catalog.tensors[i].begin == file.payloads[i].offset);
    CHECK(catalog.tensors[i].size == file.payloads[i].size);
    CHECK(catalog.tensors[i].begin % 64 == 0);
    CHECK(Shape(catalog.sizes(catalog.tensors[i])) == Shape{3, 4});
  }
  const test::PlannedFile planned(file);
  format::ZipDirectory zip = format::read_zip(planned, {});
  for (std::uint32_t i = 0; i < zip.entries.size(); ++i) {
    const std::uint32_t used[] = {i};
    format::locate(planned, zip, used);
    CHECK(zip.entries[i].crc32 != 0);
    CHECK(format::read_entry(planned, zip.entries[i], 1u << 20, "inflated_bytes", 1).size_bytes() ==
          64 + 64 + file.payloads[i].size);
  }
}

TEST_CASE("npz file plan: shapes of no dim, one dim, no elements and many dims") {
  const std::vector<TensorDeclaration> tensors = {{"scalar", DType::f32, Shape{}},
                                                  {"one", DType::i64, Shape{7}},
                                                  {"none", DType::u8, Shape{0, 5}},
                                                  {"deep", DType::f16, Shape(std::vector<std::int64_t>(32, 1))}};
  const format::Catalog catalog = test::read(format::npz_format, npz_file_plan(tensors));
  REQUIRE(catalog.tensors.size() == 4);
  for (const format::TensorEntry& entry : catalog.tensors)
    for (const TensorDeclaration& tensor : tensors)
      if (tensor.name == entry.name) CHECK(Shape(catalog.sizes(entry)) == tensor.shape);
}

TEST_CASE("npz file plan: members and offsets over 4 GiB, and more than 65535 of them, are zip64") {
  const std::int64_t four_gib = std::int64_t{1} << 32;
  const std::vector<TensorDeclaration> large = {{"small", DType::u8, Shape{1}},
                                                {"large", DType::u8, Shape{four_gib + 5}},
                                                {"after", DType::f32, Shape{2}},
                                                {"limit", DType::u8, Shape{four_gib - 1 - 128}}};
  const format::Catalog catalog = test::read(format::npz_format, npz_file_plan(large));
  REQUIRE(catalog.tensors.size() == 4);
  CHECK(catalog.tensors[1].size == static_cast<std::uint64_t>(four_gib) + 5);
  CHECK(catalog.tensors[2].begin > static_cast<std::uint64_t>(four_gib));
  CHECK(catalog.tensors[2].begin % 64 == 0);

  std::vector<TensorDeclaration> many;
  for (int i = 0; i < 65535; ++i) many.push_back({std::to_string(i), DType::u8, Shape{}});
  const FilePlan file = npz_file_plan(many);
  const std::string tail = file.finish(std::vector<std::uint32_t>(many.size())).back().bytes;
  CHECK(tail.substr(tail.size() - 22 - 20, 4) == "PK\x06\x07");
  CHECK(tail.substr(tail.size() - 22 + 8, 4) == "\xff\xff\xff\xff");
}

TEST_CASE("npz file plan: refuses what numpy or a zip cannot represent, by name") {
  const auto refused = [](std::vector<TensorDeclaration> tensors) {
    return test::thrown_by([&] { return npz_file_plan(tensors); });
  };
  const Error bf16 = refused({{"w", DType::bf16, Shape{2}}});
  CHECK(bf16.code() == ErrorCode::unsupported);
  CHECK(bf16.tensor() == "w");
  CHECK(bf16.message() == "npz has no dtype for bf16");
  for (const DType dtype : {DType::q4_k, DType::c32, DType::f8_e4m3, DType::unknown})
    CHECK(refused({{"w", dtype, Shape{256}}}).code() == ErrorCode::unsupported);
  struct Row {
    std::string name;
    const char* words;
  };
  const std::vector<Row> rows = {{"\xff", "UTF-8"},
                                 {std::string("a\0b", 3), "NUL"},
                                 {"a\\b", "backslash"},
                                 {"/etc/passwd", "absolute"},
                                 {"../a", "climbs"},
                                 {"a/../b", "climbs"},
                                 {std::string(4063, 'a'), "at most 4062 bytes"}};
  for (const Row& row : rows) {
    CAPTURE(row.words);
    const Error error = refused({{row.name, DType::f32, Shape{}}});
    CHECK(error.code() == ErrorCode::unsupported);
    CHECK(error.tensor() == row.name);
    CHECK(error.message().find(row.words) != std::string::npos);
  }
  CHECK(refused({{"deep", DType::f32, Shape(std::vector<std::int64_t>(33, 1))}}).code() == ErrorCode::unsupported);
  CHECK(refused({}).code() == ErrorCode::unsupported);
}

TEST_CASE("npz file plan: reads back the longest name and unusual ones") {
  const std::vector<TensorDeclaration> tensors = {{std::string(4062, 'n'), DType::u8, Shape{1}},
                                                  {"", DType::u8, Shape{1}},
                                                  {"a/b", DType::u8, Shape{1}},
                                                  {"..a", DType::u8, Shape{1}},
                                                  {"é.npy", DType::u8, Shape{1}}};
  const FilePlan file = npz_file_plan(tensors);
  const std::string head = test::PlannedFile(file).whole().substr(0, format::head_bytes);
  CHECK(format::npz_format.matches(std::as_bytes(std::span(head)), file.size_bytes));
  const format::Catalog catalog = test::read(format::npz_format, file);
  for (std::size_t i = 0; i < tensors.size(); ++i) CHECK(catalog.tensors[i].name == tensors[i].name);
}

TEST_CASE("npz file plan: refuses names that some readers cannot distinguish") {
  const auto twin = [](std::string a, std::string b) {
    return test::thrown_by([&] {
      return npz_file_plan(std::vector<TensorDeclaration>{{a, DType::u8, Shape{1}}, {b, DType::u8, Shape{1}}});
    });
  };
  CHECK(twin("a", "a").code() == ErrorCode::ambiguous);
  CHECK(twin("a.w", "A.w").tensor() == "a.w");
  CHECK(twin("x", "x.npy").tensor() == "x");  // np.load(...)["x.npy"] is x
}

TEST_CASE("npz file plan: every prefix of the file is refused") {
  const std::vector<TensorDeclaration> tensors = {{"a", DType::f32, Shape{2}}, {"b", DType::u8, Shape{3}}};
  test::check_prefixes_refused(format::npz_format, test::PlannedFile(npz_file_plan(tensors)).whole());
}
