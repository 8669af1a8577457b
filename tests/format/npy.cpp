#include <doctest/doctest.h>

#include <vector>

#include "core/endian.hpp"
#include "format/formats.hpp"
#include "support/catalog_checks.hpp"
#include "support/fixtures.hpp"
#include "support/json_tree.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/zip_builder.hpp"

using namespace heft;
using namespace heft::format;
using test::is_read;
using test::read_bytes;

namespace {

std::string npy_file(std::string_view header, std::string_view data, int version = 1) {
  std::string file = "\x93NUMPY";
  file += static_cast<char>(version);
  file += '\0';
  file += test::little(header.size(), version == 1 ? 2 : 4);
  return file.append(header).append(data);
}

std::string header(std::string_view descr, std::string_view shape, bool fortran = false) {
  return "{'descr': " + std::string(descr) + ", 'fortran_order': " + (fortran ? "True" : "False") +
         ", 'shape': " + std::string(shape) + ", }\n";
}

std::string zeros(std::size_t count) { return std::string(count, '\0'); }

std::vector<std::int64_t> list(std::span<const std::int64_t> numbers) { return {numbers.begin(), numbers.end()}; }

}  // namespace

TEST_CASE("npy: every plain type has its dtype and its byte order") {
  struct Case {
    const char* descr;
    std::size_t bytes;
    DType dtype;
    bool big_endian;
  };
  const Case cases[] = {
      {"'|b1'", 1, DType::boolean, false}, {"'|i1'", 1, DType::i8, false},    {"'|u1'", 1, DType::u8, false},
      {"'<i2'", 2, DType::i16, false},     {"'>i2'", 2, DType::i16, true},    {"'<u2'", 2, DType::u16, false},
      {"'<i4'", 4, DType::i32, false},     {"'<u4'", 4, DType::u32, false},   {"'>u4'", 4, DType::u32, true},
      {"'<i8'", 8, DType::i64, false},     {"'<u8'", 8, DType::u64, false},   {"'<f2'", 2, DType::f16, false},
      {"'<f4'", 4, DType::f32, false},     {"'>f4'", 4, DType::f32, true},    {"'<f8'", 8, DType::f64, false},
      {"'<c8'", 8, DType::c64, false},     {"'>c16'", 16, DType::c128, true}, {"'=f8'", 8, DType::f64, false},
      {"\"f4\"", 4, DType::f32, false},    {"'>i1'", 1, DType::i8, false},
  };
  for (const Case& one : cases) {
    CAPTURE(one.descr);
    const std::string bytes = npy_file(header(one.descr, "(2, 3)"), zeros(6 * one.bytes));
    const Catalog catalog = read_bytes(npy_format, bytes);
    const TensorEntry& array = catalog.tensors.at(0);
    CHECK(array.dtype == one.dtype);
    CHECK(((array.flags & swapped) != 0) == one.big_endian);
    CHECK(array.size == 6 * one.bytes);
    CHECK(list(catalog.sizes(array)) == std::vector<std::int64_t>{2, 3});
    CHECK(array.begin + array.size == bytes.size());
    CHECK(catalog.notes.size() == (one.descr[1] == '=' ? 1 : 0));  // whose order that is, the file does not say
  }
}

TEST_CASE("npy: types without a dtype keep their name and size") {
  struct Case {
    const char* descr;
    const char* name;
    std::size_t bytes;
  };
  const Case cases[] = {
      {"'|S3'", "|S3", 3},
      {"'<U5'", "<U5", 20},
      {"'<M8[D]'", "<M8[D]", 8},
      {"'<V2'", "<V2", 2},
      {"'<f16'", "<f16", 16},
      {"'bfloat16'", "bfloat16", 2},
      {"'float8_e4m3fn'", "float8_e4m3fn", 1},
      {"[('a', '<i4'), ('b', '<f8')]", "[('a', '<i4'), ('b', '<f8')]", 12},
      {"[(('t', 'n'), '<i4', (2, 3)), ('m', [('x', '<f2'), ('y', '|S3')])]",
       "[(('t', 'n'), '<i4', (2, 3)), ('m', [('x', '<f2'), ('y', '|S3')])]", 29},
  };
  for (const Case& one : cases) {
    CAPTURE(one.descr);
    const Catalog catalog = read_bytes(npy_format, npy_file(header(one.descr, "(2,)"), zeros(2 * one.bytes)));
    const TensorEntry& array = catalog.tensors.at(0);
    CHECK(array.dtype == DType::unknown);
    CHECK(catalog.type_names.at(array.type_name) == one.name);
    CHECK(array.size == 2 * one.bytes);
  }
}

TEST_CASE("npy: Fortran order becomes strides, except with fewer than two dims") {
  const Catalog matrix = read_bytes(npy_format, npy_file(header("'<f4'", "(2, 3, 4)", true), zeros(96)));
  CHECK(list(matrix.strides(matrix.tensors[0])) == std::vector<std::int64_t>{1, 2, 6});
  const Catalog row = read_bytes(npy_format, npy_file(header("'<f4'", "(3,)", true), zeros(12)));
  CHECK(row.strides(row.tensors[0]).empty());
  const Catalog empty = read_bytes(npy_format, npy_file(header("'<f4'", "(2, 0, 4)", true), ""));
  CHECK(list(empty.strides(empty.tensors[0])) == std::vector<std::int64_t>{1, 2, 2});
}

TEST_CASE("npy: headers are read as literals, whatever their spacing, order, quotes and Python") {
  const char* headers[] = {
      "{'shape':(2,3),'fortran_order':False,'descr':'<f4'}",
      "{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (2, 3)}\n",
      "  {  'descr'  :  '<f4'  ,  'fortran_order'  :  False  ,  'shape'  :  ( 2 , 3 , )  ,  }   \n",
      "{'descr': u'<f4', 'fortran_order': False, 'shape': (2L, 3L)}",
      "{b'descr': '<f4',\n'fortran_order': False,\t'shape': (2, 3)}",
  };
  for (const char* text : headers)
    for (const int version : {1, 2, 3}) {
      CAPTURE(text);
      const Catalog catalog = read_bytes(npy_format, npy_file(text, zeros(24), version));
      CHECK(catalog.tensors.at(0).dtype == DType::f32);
      CHECK(list(catalog.sizes(catalog.tensors[0])) == std::vector<std::int64_t>{2, 3});
    }
  CHECK(read_bytes(npy_format, npy_file(header("'<f4'", "()"), zeros(4))).tensors[0].rank == 0);
  CHECK(read_bytes(npy_format, npy_file(header("'<f4'", "()"), zeros(14))).notes.size() == 1);
}

TEST_CASE("npy: refuses hostile headers, each with its reason") {
  using enum ErrorCode;
  struct Hostile {
    const char* what;
    std::string bytes;
    ErrorCode code;
    const char* words;
  };
  const auto file = [](std::string_view text) { return npy_file(text, zeros(64)); };
  std::string nested_type = "'<f4'";
  for (int i = 0; i < 40; ++i) nested_type = "[('a', " + nested_type + ")]";
  std::string nested_open = "{'descr': ";
  for (int i = 0; i < 20'000; ++i) nested_open += "[('a',";
  const Hostile table[] = {
      {"version 4", npy_file(header("'<f4'", "(1,)"), zeros(4), 4), unsupported, "npy version 4.0"},
      {"version 0", npy_file(header("'<f4'", "(1,)"), zeros(4), 0), unsupported, "npy version 0.0"},
      {"objects", file(header("'|O'", "(1,)")), refused, "pickle"},
      {"objects in a field", file(header("[('a', '<i4'), ('b', '|O')]", "(1,)")), refused, "pickle"},
      {"header of 4 GiB", "\x93NUMPY\x02" + std::string(1, '\0') + "\xFF\xFF\xFF\xFF", limit_exceeded,
       "npy_header_bytes"},
      {"header past the end", "\x93NUMPY\x01" + std::string(1, '\0') + "\xFF\x00", corrupt, "header"},
      {"no dict", file("'<f4'"), corrupt, "'{'"},
      {"dict not closed", file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,),"), corrupt, "a string"},
      {"string not closed", file("{'descr"), corrupt, "closing"},
      {"string that ends in a backslash", file("{'descr\\"), corrupt, "closing"},
      {"words after the dict", file(header("'<f4'", "(1,)") + "x"), corrupt, "nothing after"},
      {"a second dict", file(header("'<f4'", "(1,)") + header("'<f8'", "(1,)")), corrupt, "nothing after"},
      {"key twice", file("{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (1,)}"), ambiguous,
       "'descr'"},
      {"key missing", file("{'descr': '<f4', 'shape': (1,)}"), corrupt, "descr, fortran_order and shape"},
      {"key unknown", file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}"), corrupt,
       "descr, fortran_order or shape"},
      {"shape that is a number", file(header("'<f4'", "3")), corrupt, "'('"},
      {"shape that is a number in brackets", file(header("'<f4'", "(3)")), corrupt, "a tuple"},
      {"shape that is a list", file(header("'<f4'", "[3]")), corrupt, "'('"},
      {"negative dim", file(header("'<f4'", "(-1,)")), corrupt, "an integer"},
      {"real dim", file(header("'<f4'", "(1.5,)")), corrupt, "',' or ')'"},
      {"dim of 2^63", file(header("'<f4'", "(9223372036854775808,)")), corrupt, "63 bits"},
      {"dim of 2^64", file(header("'<f4'", "(18446744073709551616,)")), corrupt, "an integer"},
      {"product that wraps", file(header("'<f4'", "(4294967296, 4294967296)")), corrupt, "number of elements"},
      {"bytes that wrap", file(header("'<c16'", "(1152921504606846976,)")), corrupt, "bytes of the array"},
      {"data missing", file(header("'<f8'", "(9,)")), corrupt, "expected 72 bytes"},
      {"order that is a number", file("{'descr': '<f4', 'fortran_order': 1, 'shape': (1,)}"), corrupt, "True or False"},
      {"type unknown", file(header("'float32'", "(1,)")), corrupt, "a type as"},
      {"type empty", file(header("''", "(1,)")), corrupt, "a type as"},
      {"type with an escape", file(header("'\\x3cf4'", "(1,)")), corrupt, "without escapes"},
      {"types nested 40 deep", file(header(nested_type, "(1,)")), corrupt, "nested"},
      {"lists opened 20,000 times", npy_file(nested_open, "", 2), limit_exceeded, "npy_header_bytes"},
      {"33 dims", file(header("'<f4'", "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)")),
       limit_exceeded, "rank"},
  };
  for (const Hostile& one : table) {
    CAPTURE(std::string(one.what));
    const Error error = test::thrown_by([&] { return read_bytes(npy_format, one.bytes); });
    CHECK(name(error.code()) == name(one.code));
    CHECK_MESSAGE(std::string_view(error.what()).find(one.words) != std::string_view::npos, std::string(error.what()));
  }
}

TEST_CASE("npy: refuses every prefix, and no flipped bit reads outside the file") {
  const std::string bytes = npy_file(header("[('a', '<i4'), (('t', 'b'), '<f8', (2,))]", "(2, 3)", true), zeros(120));
  CHECK(is_read(npy_format, bytes));
  CHECK(test::readable_prefixes(npy_format, bytes) == 0);
  test::flip_every_bit(npy_format, bytes, bytes.size() - 120);
}

TEST_CASE("npy: numpy's files have the types and shapes its index states") {
  const auto folder = test::fixtures("numpy-1.24.2-output");
  if (!folder) return;
  struct Case {
    const char* file;
    const char* type;
    std::vector<std::int64_t> shape;
    bool big_endian = false;
  };
  const Case cases[] = {
      {"d_bool", "bool", {6}},
      {"d_i1", "i8", {6}},
      {"d_u1", "u8", {6}},
      {"d_le_u2", "u16", {6}},
      {"d_le_i4", "i32", {6}},
      {"d_le_u4", "u32", {6}},
      {"d_le_i8", "i64", {6}},
      {"d_le_u8", "u64", {6}},
      {"d_le_f8", "f64", {6}},
      {"d_le_c8", "c64", {6}},
      {"d_be_i4", "i32", {6}, true},
      {"d_be_f8", "f64", {6}, true},
      {"d_be_u2", "u16", {6}, true},
      {"shape_0d", "i32", {}},
      {"shape_empty", "f32", {0, 3}},
      {"bytes_S", "|S2", {2}},
      {"datetime", "<M8[D]", {1}},
      {"structured", "[('a', '<i4'), ('b', '<f8')]", {1}},
      {"void", "|V3", {2}},
      {"unicode_field_v3", "[('\xC3\xA9\xE2\x82\xAC', '<f4')]", {1}},
  };
  for (const Case& one : cases) {
    CAPTURE(one.file);
    const std::string bytes = test::content_of(*folder / (std::string(one.file) + ".npy"));
    const Catalog catalog = read_bytes(npy_format, bytes);
    const TensorEntry& array = catalog.tensors.at(0);
    CHECK((array.dtype == DType::unknown ? catalog.type_names.at(array.type_name) : name(array.dtype)) == one.type);
    CHECK(list(catalog.sizes(array)) == one.shape);
    CHECK(((array.flags & swapped) != 0) == one.big_endian);
    CHECK(array.begin + array.size == bytes.size());
  }
  const std::string objects = test::content_of(*folder / "object_pickle_REFUSE.npy");
  CHECK(test::thrown_by([&] { return read_bytes(npy_format, objects); }).code() == ErrorCode::refused);
}

namespace {

template <class T>
T item_at(const std::string& bytes, const TensorEntry& array, std::size_t offset) {
  const auto* from = reinterpret_cast<const std::byte*>(bytes.data()) + array.begin + offset;
  return (array.flags & swapped) != 0 ? core::load_be<T>(from) : core::load_le<T>(from);
}

/// Item `i` as Python's str() writes it.
std::string python_text(const std::string& bytes, const TensorEntry& array, std::size_t i) {
  const std::size_t at = i * info(array.dtype).block_bytes;
  switch (array.dtype) {
    case DType::boolean: return item_at<std::uint8_t>(bytes, array, at) != 0 ? "True" : "False";
    case DType::i8: return std::to_string(item_at<std::int8_t>(bytes, array, at));
    case DType::u8: return std::to_string(item_at<std::uint8_t>(bytes, array, at));
    case DType::u16: return std::to_string(item_at<std::uint16_t>(bytes, array, at));
    case DType::i32: return std::to_string(item_at<std::int32_t>(bytes, array, at));
    case DType::u32: return std::to_string(item_at<std::uint32_t>(bytes, array, at));
    case DType::i64: return std::to_string(item_at<std::int64_t>(bytes, array, at));
    case DType::u64: return std::to_string(item_at<std::uint64_t>(bytes, array, at));
    case DType::f64: return std::to_string(static_cast<int>(item_at<double>(bytes, array, at))) + ".0";
    case DType::c64: {
      const std::string imaginary = std::to_string(static_cast<int>(item_at<float>(bytes, array, at + 4))) + "j";
      const auto real = static_cast<int>(item_at<float>(bytes, array, at));
      return real == 0 ? imaginary : "(" + std::to_string(real) + "+" + imaginary + ")";
    }
    default: return "no text for it";
  }
}

}  // namespace

TEST_CASE("npy: numpy's files have the values its index states") {
  const auto folder = test::fixtures("numpy-1.24.2-output");
  if (!folder) return;
  const test::JsonTree index = test::read_json(*folder / "INDEX.json");
  std::size_t compared = 0;
  for (const auto& [file, expected] : index.members) {
    CAPTURE(file);
    if (!file.ends_with(".npy") || file == "object_pickle_REFUSE.npy") continue;
    const std::string bytes = test::content_of(*folder / file);
    const Catalog catalog = read_bytes(npy_format, bytes);
    const TensorEntry& array = catalog.tensors.at(0);
    REQUIRE(array.rank == expected["shape"].elements.size());
    CHECK(((array.flags & strided) != 0) == expected["fortran"].boolean);
    if (array.dtype == DType::unknown) continue;  // their bytes are compared by tests/cli/compare_with_numpy.py
    const auto& values = expected["values"].elements;
    for (std::size_t i = 0; i < values.size(); ++i, ++compared) CHECK(python_text(bytes, array, i) == values[i].text);
  }
  CHECK(compared == 79);
}

TEST_CASE("npy: candle's array is read") {
  const auto folder = test::fixtures("huggingface+candle");
  if (!folder) return;
  const Catalog catalog = read_bytes(npy_format, test::content_of(*folder / "candle-core/tests/test.npy"));
  CHECK(catalog.tensors.at(0).dtype == DType::i64);
  CHECK(list(catalog.sizes(catalog.tensors[0])) == std::vector<std::int64_t>{10});
}
