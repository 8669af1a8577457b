#include <algorithm>
#include <map>
#include <random>

#include <fmt/format.h>

#include "format/formats.hpp"
#include "format/json/reader.hpp"
#include "format/reading.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

namespace heft {
namespace {

using format::Catalog;
using format::safetensors_format;
using format::TensorEntry;
using test::safetensors_file;

Catalog read(std::string_view file) { return test::read(safetensors_format, file); }

std::vector<std::int64_t> sizes(const Catalog& catalog, std::size_t tensor) {
  const auto span = catalog.sizes(catalog.tensors.at(tensor));
  return {span.begin(), span.end()};
}

std::map<std::string, std::string> metadata(const Catalog& catalog) {
  std::map<std::string, std::string> pairs;
  const format::Node& map = catalog.nodes.at(catalog.metadata);
  const auto text = [&](std::uint64_t child) {
    const format::Node& node = catalog.nodes.at(catalog.children.at(child));
    CHECK(node.kind == format::NodeKind::text);
    return std::string(node.text, node.count);
  };
  for (std::uint64_t i = 0; i < map.count; ++i) pairs[text(map.first + 2 * i)] = text(map.first + 2 * i + 1);
  return pairs;
}

// A file with one tensor 'x' of two F32, whose members are given in full.
std::string one(std::string_view members, std::size_t payload = 8) {
  return safetensors_file(fmt::format(R"({{"x":{{{}}}}})", members), std::string(payload, '\0'));
}

std::string x_and(std::string_view members, std::size_t payload = 8) {
  return safetensors_file(fmt::format(R"({{"x":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}},{}}})", members),
                          std::string(payload, '\0'));
}

std::string with_length(std::uint64_t length, std::string_view rest) {
  std::string file = safetensors_file("", rest);
  for (int i = 0; i < 8; ++i) file[static_cast<std::size_t>(i)] = static_cast<char>(length >> (8 * i));
  return file;
}

std::string nested(std::size_t depth) {
  return one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"more":)" + std::string(depth, '[') +
             std::string(depth, ']'));
}

std::string of_rank(std::size_t rank) {
  std::string shape = "2";
  while (--rank > 0) shape += ",1";
  return one(fmt::format(R"("dtype":"F32","shape":[{}],"data_offsets":[0,8])", shape));
}

TEST_CASE("safetensors: lists tensors with absolute offsets, sizes and dims") {
  const std::string file = test::SafetensorsBuilder()
                               .add("a", "F32", {2, 3}, std::string(24, 'a'))
                               .add("b.c", "BF16", {}, std::string(2, 'b'))
                               .metadata("format", "pt")
                               .build();
  const Catalog catalog = read(file);
  CHECK(catalog.format == "safetensors");
  REQUIRE(catalog.tensors.size() == 2);
  const TensorEntry& a = catalog.tensors[0];
  CHECK(a.name == "a");
  CHECK(a.dtype == DType::f32);
  CHECK(a.size == 24);
  CHECK(a.first == 0);
  CHECK(a.flags == 0);
  CHECK(file.substr(a.begin, a.size) == std::string(24, 'a'));
  CHECK(sizes(catalog, 0) == std::vector<std::int64_t>{2, 3});
  const TensorEntry& b = catalog.tensors[1];
  CHECK(b.name == "b.c");
  CHECK(b.rank == 0);
  CHECK(file.substr(b.begin, b.size) == "bb");
  CHECK(metadata(catalog) == std::map<std::string, std::string>{{"format", "pt"}});
}

TEST_CASE("safetensors: every dtype of the format is read, with its size in bits") {
  struct Row {
    const char* name;
    DType dtype;
    std::size_t bits;
  };
  const Row rows[] = {
      {"BOOL", DType::boolean, 8},
      {"F4", DType::f4_e2m1, 4},
      {"F6_E2M3", DType::f6_e2m3, 6},
      {"F6_E3M2", DType::f6_e3m2, 6},
      {"U8", DType::u8, 8},
      {"I8", DType::i8, 8},
      {"F8_E5M2", DType::f8_e5m2, 8},
      {"F8_E4M3", DType::f8_e4m3, 8},
      {"F8_E8M0", DType::f8_e8m0, 8},
      {"F8_E4M3FNUZ", DType::f8_e4m3fnuz, 8},
      {"F8_E5M2FNUZ", DType::f8_e5m2fnuz, 8},
      {"I16", DType::i16, 16},
      {"U16", DType::u16, 16},
      {"F16", DType::f16, 16},
      {"BF16", DType::bf16, 16},
      {"I32", DType::i32, 32},
      {"U32", DType::u32, 32},
      {"F32", DType::f32, 32},
      {"C64", DType::c64, 64},
      {"F64", DType::f64, 64},
      {"I64", DType::i64, 64},
      {"U64", DType::u64, 64},
  };
  CHECK(std::size(rows) == 22);
  for (const Row& row : rows) {
    CAPTURE(std::string(row.name));
    const Catalog catalog =
        read(test::SafetensorsBuilder().add("x", row.name, {3, 4}, std::string(12 * row.bits / 8, '\1')).build());
    REQUIRE(catalog.tensors.size() == 1);
    CHECK(catalog.tensors[0].dtype == row.dtype);
    CHECK(catalog.tensors[0].size == 12 * row.bits / 8);
  }
}

TEST_CASE("safetensors: sub-byte tensors fill whole bytes over the whole shape, not in every row") {
  CHECK(read(test::SafetensorsBuilder().add("x", "F4", {2, 3}, "abc").build()).tensors[0].size == 3);
  CHECK(read(test::SafetensorsBuilder().add("x", "F6_E2M3", {2, 2}, "abc").build()).tensors[0].size == 3);
}

TEST_CASE(
    "safetensors: tensors are listed in the order of their data, empty ones before their neighbour, whatever the "
    "header's order") {
  const Catalog catalog = read(safetensors_file(
      R"({"late":{"dtype":"U8","shape":[2],"data_offsets":[3,5]},"z":{"dtype":"U8","shape":[0,7],"data_offsets":[3,3]},)"
      R"("early":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[0],"data_offsets":[3,3]}})",
      "aaabb"));
  std::vector<std::string_view> names;
  for (const TensorEntry& entry : catalog.tensors) names.push_back(entry.name);
  CHECK(names == std::vector<std::string_view>{"early", "b", "z", "late"});
  CHECK(sizes(catalog, 2) == std::vector<std::int64_t>{0, 7});
}

TEST_CASE("safetensors: reads everything that the format allows") {
  struct Row {
    const char* what;
    std::string file;
    std::size_t tensors;
  };
  const Row rows[] = {
      {"an empty object", safetensors_file("{}"), 0},
      {"white space around the header", safetensors_file(" \t\r\n{}\n  ", ""), 0},
      {"white space within",
       safetensors_file("{ \"x\" :\n{ \"shape\": [ 2 , 1 ] , \"data_offsets\":\t[0, 8 ],\"dtype\" : \"F32\" } }",
                        "12345678"),
       1},
      {"metadata that is null", safetensors_file(R"({"__metadata__":null})"), 0},
      {"metadata that is empty", safetensors_file(R"({"__metadata__":{}})"), 0},
      {"unknown members",
       one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"more":{"a":[1,-2.5e3,"\u00e9",true,null,{}]})"), 1},
      {"a dtype with escapes", one(R"("d\u0074ype":"F\u00332","shape":[2],"data_offsets":[0,8])"), 1},
      {"an empty name", safetensors_file(R"({"":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})", "x"), 1},
      {"a rank of 32", of_rank(32), 1},
      {"nesting up to the limit in what is ignored", nested(30), 1},
      {"an integer beyond 64 bits in what is ignored",
       one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"n":123456789012345678901234567890)"), 1},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.what));
    CHECK(read(row.file).tensors.size() == row.tensors);
  }
}

TEST_CASE("safetensors: names are data, whatever they hold") {
  const Catalog catalog = read(safetensors_file(
      R"({"a\u0000b":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"../\"\\\n":{"dtype":"U8","shape":[],"data_offsets":[1,2]},)"
      R"("\ud83d\ude00é":{"dtype":"U8","shape":[],"data_offsets":[2,3]}})",
      "xyz"));
  REQUIRE(catalog.tensors.size() == 3);
  CHECK(catalog.tensors[0].name == std::string_view("a\0b", 3));
  CHECK(catalog.tensors[1].name == "../\"\\\n");
  CHECK(catalog.tensors[2].name == "\xF0\x9F\x98\x80\xC3\xA9");
}

TEST_CASE("safetensors: refuses hostile files, each with its reason") {
  constexpr auto corrupt = ErrorCode::corrupt;
  constexpr auto ambiguous = ErrorCode::ambiguous;
  constexpr auto limit = ErrorCode::limit_exceeded;
  const test::Hostile rows[] = {
      {"an empty file", "", corrupt, "expected 8 bytes of the header's length, 0 remain"},
      {"less than a length", "1234567", corrupt, "7 remain"},
      {"a length over the limit", with_length(100'000'001, "{}"), limit, "safetensors_header_bytes"},
      {"the largest length", with_length(~0ULL, "{}"), limit, "safetensors_header_bytes"},
      {"a length over the file", with_length(100'000'000, "{}"), corrupt,
       "the header declares 100000000 bytes, the file has 2"},
      {"a length one over the file", with_length(3, "{}"), corrupt, "the header declares 3 bytes"},
      {"no header", safetensors_file(""), corrupt, "expected a JSON object, found the end"},
      {"only spaces", safetensors_file("    "), corrupt, "expected a JSON object, found the end"},
      {"a byte order mark", safetensors_file("\xEF\xBB\xBF{}"), corrupt, "expected a JSON object"},
      {"a list", safetensors_file("[]"), corrupt, "expected a JSON object, found a list"},
      {"padding with NUL", safetensors_file(std::string("{}\0\0", 4)), corrupt, "malformed JSON"},
      {"two objects", safetensors_file("{}{}"), corrupt, "expected the end of the JSON text, found an object"},
      {"a word after the end", safetensors_file("{}}"), corrupt, "expected the end"},
      {"an object that is not closed", safetensors_file("{", "}"), corrupt, "malformed JSON"},
      {"an object that the payload would close",
       safetensors_file(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})", "}      }"), corrupt,
       "malformed JSON"},
      {"a string that is not closed", safetensors_file(R"({"x)", "\":1}"), corrupt, "a string is not closed"},
      {"invalid UTF-8", safetensors_file("{\"\xFF\":1}"), corrupt, "not UTF-8"},
      {"an overlong NUL", safetensors_file("{\"\xC0\x80\":1}"), corrupt, "not UTF-8"},
      {"a control character in a name", safetensors_file("{\"\n\":1}"), corrupt, "control character"},
      {"an unknown escape", safetensors_file(R"({"\q":1})"), corrupt, "unknown escape"},
      {"the first half of a surrogate pair", x_and(R"("\ud800":{})"), corrupt, "malformed"},
      {"the second half of a surrogate pair", x_and(R"("\udc00":{})"), corrupt, "malformed"},
      {"two first halves", x_and(R"("\ud800\ud800":{})"), corrupt, "malformed"},
      {"a half and a letter", x_and(R"("\ud800\u0041":{})"), corrupt, "malformed"},
      {"a comment", safetensors_file("{}//x"), corrupt, ""},
      {"a trailing comma", safetensors_file(R"({"__metadata__":{},})"), corrupt, "malformed JSON"},
      {"a missing comma", safetensors_file(R"({"__metadata__":{} "x":{}})"), corrupt, "malformed JSON"},
      {"a missing colon", safetensors_file(R"({"__metadata__"{}})"), corrupt, "malformed JSON"},
      {"a key that is no string", safetensors_file("{1:{}}"), corrupt, "malformed JSON"},
      {"a list closed as an object", one(R"("dtype":"F32","shape":[2},"data_offsets":[0,8])"), corrupt, ""},
      {"metadata twice", safetensors_file(R"({"__metadata__":{},"__metadata__":{}})"), ambiguous, "found a second"},
      {"null metadata twice", safetensors_file(R"({"__metadata__":null,"__metadata__":{}})"), ambiguous,
       "found a second"},
      {"a metadata key twice", safetensors_file(R"({"__metadata__":{"a":"1","\u0061":"2"}})"), ambiguous,
       "the key 'a' occurs twice"},
      {"metadata that is a list", safetensors_file(R"({"__metadata__":[]})"), corrupt,
       "__metadata__: expected an object, found a list"},
      {"a metadata value that is a number", safetensors_file(R"({"__metadata__":{"a":1}})"), corrupt,
       "__metadata__: expected a string, found 1"},
      {"a metadata word that is not null", safetensors_file(R"({"__metadata__":nulll})"), corrupt,
       "expected null, found nulll"},
      {"a tensor that is a list", safetensors_file(R"({"x":["F32",[2],[0,8]]})", "12345678"), corrupt,
       "expected an object, found a list"},
      {"a tensor that is null", safetensors_file(R"({"x":null})"), corrupt, "expected an object, found null"},
      {"no dtype", one(R"("shape":[2],"data_offsets":[0,8])"), corrupt, "expected a member 'dtype', found none"},
      {"no shape", one(R"("dtype":"F32","data_offsets":[0,8])"), corrupt, "expected a member 'shape', found none"},
      {"no offsets", one(R"("dtype":"F32","shape":[2])"), corrupt, "expected a member 'data_offsets', found none"},
      {"two dtypes", one(R"("dtype":"F32","shape":[2],"dtype":"F32","data_offsets":[0,8])"), ambiguous,
       "the member 'dtype' occurs twice"},
      {"two shapes, one with escapes", one(R"("dtype":"F32","shape":[2],"sh\u0061pe":[2],"data_offsets":[0,8])"),
       ambiguous, "the member 'shape' occurs twice"},
      {"two offsets", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"data_offsets":[0,8])"), ambiguous,
       "the member 'data_offsets' occurs twice"},
      {"a dtype in lower case", one(R"("dtype":"f32","shape":[2],"data_offsets":[0,8])"), ErrorCode::unsupported,
       "22 dtypes, found 'f32'"},
      {"a dtype of another format", one(R"("dtype":"Q4_0","shape":[2],"data_offsets":[0,8])"), ErrorCode::unsupported,
       "found 'Q4_0'"},
      {"a dtype that is an object", one(R"("dtype":{"F32":null},"shape":[2],"data_offsets":[0,8])"), corrupt,
       "dtype: expected a string, found an object"},
      {"a shape that is a number", one(R"("dtype":"F32","shape":2,"data_offsets":[0,8])"), corrupt,
       "shape: expected a list, found 2"},
      {"a negative dim", one(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), corrupt,
       "shape: expected an integer from 0 to 2^64 - 1, found -2"},
      {"minus zero", one(R"("dtype":"F32","shape":[-0],"data_offsets":[0,8])"), corrupt, "found -0"},
      {"a real dim", one(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), corrupt, "found 2.0"},
      {"an exponent", one(R"("dtype":"F32","shape":[2e0],"data_offsets":[0,8])"), corrupt, "found 2e0"},
      {"a leading zero", one(R"("dtype":"F32","shape":[02],"data_offsets":[0,8])"), corrupt, "found 02"},
      {"a plus", one(R"("dtype":"F32","shape":[+2],"data_offsets":[0,8])"), corrupt, "found +2"},
      {"a hexadecimal dim", one(R"("dtype":"F32","shape":[0x2],"data_offsets":[0,8])"), corrupt, "found 0x2"},
      {"a dim in quotes", one(R"("dtype":"F32","shape":["2"],"data_offsets":[0,8])"), corrupt, "found a string"},
      {"NaN", one(R"("dtype":"F32","shape":[NaN],"data_offsets":[0,8])"), corrupt, "found NaN"},
      {"a trailing comma in a shape", one(R"("dtype":"F32","shape":[2,],"data_offsets":[0,8])"), corrupt,
       "shape: expected an integer"},
      {"a dim of 2^63", one(R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8])"), corrupt,
       "expected a dim below 2^63"},
      {"a dim of 2^64", one(R"("dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8])"), corrupt,
       "found 18446744073709551616"},
      {"dims whose product wraps to 2", one(R"("dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8])"),
       corrupt, "number of elements"},
      {"dims that wrap beside a zero",
       one(R"("dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0])", 0), corrupt,
       "number of elements"},
      {"bytes that wrap", one(R"("dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0])", 0), corrupt,
       "size"},
      {"a rank over the limit", of_rank(33), limit, "rank"},
      {"one offset", one(R"("dtype":"F32","shape":[2],"data_offsets":[0])"), corrupt,
       "data_offsets: expected 2 numbers, found 1"},
      {"three offsets", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8,8])"), corrupt,
       "data_offsets: expected 2 numbers, found 3"},
      {"offsets in an object", one(R"("dtype":"F32","shape":[2],"data_offsets":{"0":8})"), corrupt,
       "data_offsets: expected a list"},
      {"a hole at the start", one(R"("dtype":"F32","shape":[2],"data_offsets":[1,9])", 9), corrupt,
       "expected data_offsets to start at 0"},
      {"a hole between", x_and(R"("y":{"dtype":"U8","shape":[1],"data_offsets":[9,10]})", 10), corrupt,
       "expected data_offsets to start at 8, where the previous tensor ends, found 9"},
      {"an overlap", x_and(R"("y":{"dtype":"U8","shape":[1],"data_offsets":[7,8]})"), corrupt,
       "expected data_offsets to start at 8, where the previous tensor ends, found 7"},
      {"the same range twice", x_and(R"("y":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), corrupt,
       "expected data_offsets to start at 8"},
      {"offsets in reverse", one(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), corrupt,
       "expected data_offsets to start at 0"},
      {"offsets in reverse after a tensor", x_and(R"("y":{"dtype":"U8","shape":[1],"data_offsets":[8,7]})"), corrupt,
       "ascending order, found [8, 7]"},
      {"too few bytes for the shape", one(R"("dtype":"F32","shape":[1000000],"data_offsets":[0,12])", 12), corrupt,
       "expected 4000000 bytes, data_offsets span 12"},
      {"an empty range for a full shape", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,0])", 0), corrupt,
       "expected 8 bytes, data_offsets span 0"},
      {"the largest offset", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615])"), corrupt,
       "data_offsets span 18446744073709551615"},
      {"an odd number of nibbles", one(R"("dtype":"F4","shape":[3],"data_offsets":[0,1])", 1), corrupt,
       "multiple of 2"},
      {"six-bit elements that end within a byte", one(R"("dtype":"F6_E3M2","shape":[3],"data_offsets":[0,3])", 3),
       corrupt, "multiple of 4"},
      {"a payload cut short", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])", 7), corrupt,
       "the header declares a file of 70 bytes, it has 69"},
      {"bytes after the last tensor", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])", 9), corrupt,
       "expected 8 bytes of data, the file has 9"},
      {"bytes without tensors", safetensors_file("{}", "x"), corrupt, "expected 0 bytes of data, the file has 1"},
      {"a name twice, with the same range", x_and(R"("x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), ambiguous,
       "declared twice"},
      {"a name twice, with the next range", x_and(R"("x":{"dtype":"F32","shape":[2],"data_offsets":[8,16]})", 16),
       ambiguous, "declared twice"},
      {"a name twice, once with escapes", x_and(R"("\u0078":{"dtype":"F32","shape":[2],"data_offsets":[8,16]})", 16),
       ambiguous, "declared twice"},
      {"nesting over the limit in what is ignored", nested(31), limit, "json_depth"},
      {"very deep nesting", nested(1'000'000), limit, "json_depth"},
      {"malformed JSON in what is ignored", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"more":[1,tru])"),
       corrupt, "expected true or false, found tru"},
      {"a malformed number in what is ignored", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1.)"),
       corrupt, "expected a number, found 1."},
      {"a bare word in what is ignored", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"more":x)"), corrupt,
       "expected a value, found x"},
  };
  test::check_refusals(safetensors_format, rows);
}

TEST_CASE("safetensors: an error contains the tensor and the offset of the number") {
  const std::string file = x_and(R"("y\n":{"dtype":"U8","shape":[4],"data_offsets":[8,9]})", 9);
  const auto error = test::refusal(safetensors_format, file);
  REQUIRE(error);
  CHECK(error->tensor() == "y\n");
  REQUIRE(error->offset());
  CHECK(file.substr(*error->offset(), 5) == "[8,9]");
  CHECK(std::string(error->what()) ==
        fmt::format("tensor 'y\\n': expected 4 bytes, data_offsets span 1 (at byte {})", *error->offset()));

  const std::string shape = x_and(R"("y":{"dtype":"F32","data_offsets":[8,9],"shape":[4,x]})", 9);
  const auto bad_dim = test::refusal(safetensors_format, shape);
  REQUIRE(bad_dim);
  CHECK(bad_dim->tensor() == "y");
  REQUIRE(bad_dim->offset());
  CHECK(shape.substr(*bad_dim->offset(), 2) == "x]");
}

TEST_CASE("safetensors: applies the caller's limits") {
  format::ReadOptions options;
  options.limits.tensors = 1;
  const std::string two = test::SafetensorsBuilder().add("a", "U8", {}, "a").add("b", "U8", {}, "b").build();
  const auto tensors = test::refusal(safetensors_format, two, options);
  REQUIRE(tensors);
  CHECK(tensors->code() == ErrorCode::limit_exceeded);
  options = {};
  options.limits.name_bytes = 3;
  const auto name =
      test::refusal(safetensors_format, test::SafetensorsBuilder().add("abcd", "U8", {}, "a").build(), options);
  REQUIRE(name);
  CHECK(name->code() == ErrorCode::limit_exceeded);
  options = {};
  options.limits.safetensors_header_bytes = two.size() - 11;
  CHECK(test::refusal(safetensors_format, two, options));
  options.limits.json_depth = 1'000'000;
  options.limits.safetensors_header_bytes = 100'000'000;
  const auto depth = test::refusal(safetensors_format, nested(900'000), options);
  REQUIRE(depth);
  CHECK(depth->code() == ErrorCode::limit_exceeded);
}

TEST_CASE("safetensors: every prefix of a valid file is refused") {
  const std::string file = test::SafetensorsBuilder()
                               .metadata("format", "pt")
                               .add("a", "F32", {2}, "12345678")
                               .add("b\"", "BOOL", {3, 1}, "abc")
                               .build();
  CHECK(read(file).tensors.size() == 2);
  test::check_prefixes_refused(safetensors_format, file);
}

TEST_CASE("safetensors: a header with any one bit flipped is refused or stays in bounds") {
  const test::SafetensorsBuilder builder = test::SafetensorsBuilder()
                                               .metadata("format", "pt")
                                               .add("a", "F32", {2}, "12345678")
                                               .add("b\"", "BOOL", {3, 1}, "abc");
  test::check_flipped_bits(safetensors_format, builder.build(), 8 + builder.header().size());
}

TEST_CASE("safetensors: random catalogs read back as they were written") {
  std::mt19937 random(20240917);
  const std::pair<const char*, std::size_t> dtypes[] = {{"F32", 4}, {"BF16", 2}, {"U8", 1},
                                                        {"I64", 8}, {"C64", 8},  {"F8_E5M2", 1}};
  for (int round = 0; round < 200; ++round) {
    CAPTURE(round);
    test::SafetensorsBuilder builder;
    std::vector<std::pair<std::string, std::vector<std::int64_t>>> written;
    const std::size_t count = random() % 40;
    for (std::size_t i = 0; i < count; ++i) {
      std::string name = fmt::format("{}.", i);
      for (std::size_t length = random() % 30; length > 0; --length) name += static_cast<char>(random() % 128);
      const auto& [dtype, bytes] = dtypes[random() % std::size(dtypes)];
      std::vector<std::int64_t> shape(random() % 5);
      std::size_t elements = 1;
      for (std::int64_t& dim : shape)
        elements *= static_cast<std::size_t>(dim = static_cast<std::int64_t>(random() % 4));
      builder.add(name, dtype, shape, test::pattern(elements * bytes, static_cast<std::uint32_t>(random())));
      written.emplace_back(std::move(name), std::move(shape));
    }
    const std::string file = builder.align(1 + random() % 64).build();
    const Catalog catalog = read(file);
    test::check_in_bounds(catalog, file.size());
    std::vector<std::pair<std::string, std::vector<std::int64_t>>> found;
    for (std::size_t i = 0; i < catalog.tensors.size(); ++i)
      found.emplace_back(catalog.tensors[i].name, sizes(catalog, i));
    std::ranges::sort(written);
    std::ranges::sort(found);
    CHECK(found == written);
  }
}

TEST_CASE("safetensors: a header of many tensors is read in time linear in its size") {
  // Each name's bytes are few, so that the table of names and not the text decides. The bound is the test's time-out.
  std::string header = "{";
  constexpr std::size_t count = 300'000;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t from = count - 1 - i;  // in the wrong order, so that sorting counts too
    header += fmt::format("{}\"{:x}\":{{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[{},{}]}}", i == 0 ? "" : ",",
                          i, from, from + 1);
  }
  const Catalog catalog = read(safetensors_file(header + "}", std::string(count, 'x')));
  REQUIRE(catalog.tensors.size() == count);
  CHECK(catalog.tensors.front().name == fmt::format("{:x}", count - 1));
}

TEST_CASE("safetensors: is recognized by its first bytes") {
  const auto matches = [](std::string_view file) {
    return safetensors_format.matches(std::as_bytes(std::span(file)).first(std::min(file.size(), format::head_bytes)),
                                      file.size());
  };
  CHECK(matches(safetensors_file("{}")));
  CHECK(matches(safetensors_file("  \n{}")));
  CHECK(matches(safetensors_file(std::string(8000, ' ') + "{}")));
  CHECK(matches(test::SafetensorsBuilder().add("a", "F32", {2}, "12345678").build().substr(0, 20)));
  CHECK_FALSE(matches(""));
  CHECK_FALSE(matches("1234567"));
  CHECK_FALSE(matches(safetensors_file("[]")));
  CHECK_FALSE(matches(safetensors_file("    ")));
  CHECK_FALSE(matches(with_length(~0ULL, "{}")));
  CHECK_FALSE(matches("{\"weight_map\": {}}"));
  CHECK_FALSE(matches("PK\3\4{}{}{}"));
}

// Returns heft's code for a fixture on which the reference reader has this verdict. A duplicate name is all that it
// accepts and heft refuses.
ErrorCode code_for(const std::string& file, const std::string& verdict) {
  if (file.find("dup_key") != std::string::npos || file.find("metadata_twice") != std::string::npos)
    return ErrorCode::ambiguous;
  if (verdict.starts_with("HeaderTooLarge")) return ErrorCode::limit_exceeded;
  if (file.find("dtype_lower") != std::string::npos) return ErrorCode::unsupported;
  return ErrorCode::corrupt;
}

TEST_CASE("safetensors: the reference reader's verdicts hold, stricter where it lets a name be declared twice") {
  const auto folder = test::fixtures("safetensors-synthetic");
  if (!folder) return;
  std::size_t good = 0;
  std::size_t bad = 0;
  for (const test::Row& row : test::read_tsv(*folder / "INDEX.tsv")) {
    const std::string& file = row.at(0);
    CAPTURE(file);
    const std::string bytes = test::content_of(*folder / file);
    const auto error = test::refusal(safetensors_format, bytes);
    if (file.starts_with("ok/")) {
      ++good;
      CHECK_MESSAGE(!error, std::string(error ? error->what() : ""));
      if (!error) CHECK(row.at(2).starts_with(fmt::format("OK {} tensors", read(bytes).tensors.size())));
    } else {
      ++bad;
      REQUIRE(error);
      CHECK_MESSAGE(name(error->code()) == name(code_for(file, row.at(1))), std::string(error->what()));
    }
  }
  CHECK(good == 6);
  CHECK(bad == 25);
}

TEST_CASE("safetensors: files of other writers are read") {
  struct Row {
    const char* file;
    std::size_t tensors;
    const char* first;
  };
  const Row rows[] = {
      {"run-ai+runai-model-streamer/py/runai_model_streamer/runai_model_streamer/safetensors_streamer/tests/test_files/"
       "test.safetensors",
       10, "tensor1.int64"},
      {"run-ai+runai-model-streamer/py/runai_model_streamer/runai_model_streamer/safetensors_streamer/tests/test_files/"
       "test_empty.safetensors",
       0, ""},
      {"foundation-model-stack+fastsafetensors/examples/a.safetensors", 1, "a0"},
      {"foundation-model-stack+fastsafetensors/examples/b.safetensors", 1, "b0"},
      {"foundation-model-stack+fastsafetensors/examples/b_paddle.safetensors", 1, "b0"},
      {"syoyo+safetensors-cpp/gen/model.safetensors", 2, "weight1"},
      {"huggingface+candle/candle-examples/examples/encodec/jfk-codes.safetensors", 1, "codes"},
  };
  const auto folder = test::fixtures("");
  if (!folder) return;
  for (const Row& row : rows) {
    CAPTURE(std::string(row.file));
    const std::string bytes = test::content_of(*folder / row.file);
    const Catalog catalog = read(bytes);
    CHECK(catalog.tensors.size() == row.tensors);
    if (!catalog.tensors.empty()) CHECK(catalog.tensors[0].name == row.first);
    test::check_in_bounds(catalog, bytes.size());
  }
}

// What Burn's own tests say of a tensor of one of their files.
struct Expected {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::uint64_t> offsets;
};

Expected read_expected(format::json::Value& value) {
  Expected expected;
  value.members("tensor", [&](const format::json::Key& key, format::json::Value& member) {
    if (key.is("dtype"))
      expected.dtype = member.text("dtype");
    else if (key.is("shape"))
      member.elements("shape", [&](format::json::Value& dim) {
        expected.shape.push_back(static_cast<std::int64_t>(dim.unsigned_integer("dim")));
      });
    else if (key.is("data_offsets"))
      member.elements("offsets", [&](format::json::Value& offset) {
        expected.offsets.push_back(offset.unsigned_integer("offset"));
      });
    else
      member.skip("member");
  });
  return expected;
}

void check_expected(const Catalog& catalog, std::uint64_t data_begin, const std::map<std::string, Expected>& expected) {
  REQUIRE(catalog.tensors.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const TensorEntry& entry = catalog.tensors[i];
    CAPTURE(std::string(entry.name));
    const Expected& row = expected.at(std::string(entry.name));
    CHECK(dtype_from_name(row.dtype == "F32"   ? "f32"
                          : row.dtype == "I64" ? "i64"
                          : row.dtype == "F16" ? "f16"
                                               : "") == entry.dtype);
    CHECK(sizes(catalog, i) == row.shape);
    REQUIRE(row.offsets.size() == 2);
    CHECK(entry.begin == data_begin + row.offsets[0]);
    CHECK(entry.size == row.offsets[1] - row.offsets[0]);
  }
}

TEST_CASE("safetensors: Burn's files have the tensors that Burn's tests expect") {
  const auto folder = test::fixtures("burn");
  if (!folder) return;
  const std::string text = test::content_of(*folder / "expected.json");
  const Limits limits;
  format::json::Document document(Bytes::copy_of(std::as_bytes(std::span(text))), 0, limits);
  std::size_t files = 0;
  document.members([&](const format::json::Key& file, format::json::Value& value) {
    CAPTURE(std::string(file.text));
    std::map<std::string, Expected> expected;
    std::uint64_t header = 0;
    value.members("file", [&](const format::json::Key& key, format::json::Value& member) {
      if (key.is("header_len"))
        header = member.unsigned_integer("header_len");
      else if (key.is("tensors") && file.text.ends_with(".safetensors"))
        member.members("tensors", [&](const format::json::Key& name, format::json::Value& tensor) {
          expected[std::string(name.text)] = read_expected(tensor);
        });
      else
        member.skip("member");
    });
    if (!file.text.ends_with(".safetensors")) return;
    ++files;
    check_expected(read(test::content_of(*folder / file.text)), 8 + header, expected);
  });
  CHECK(files == 13);
}

}  // namespace
}  // namespace heft
