#include <doctest/doctest.h>

#include <fstream>
#include <map>

#include "core/endian.hpp"
#include "format/formats.hpp"
#include "format/gguf/metadata.hpp"
#include "format/gguf/tensor_types.hpp"
#include "support/catalog_checks.hpp"
#include "support/fixtures.hpp"
#include "support/gguf_builder.hpp"
#include "support/temp_folder.hpp"

using namespace heft;
using namespace heft::format;
using heft::test::GgufBuilder;
using heft::test::GgufValue;
using heft::test::is_read;
using heft::test::read_bytes;

namespace {

constexpr std::uint32_t f32 = 0, q4_0 = 2;

std::vector<std::int64_t> shape_of(const Catalog& catalog, const TensorEntry& tensor) {
  const auto sizes = catalog.sizes(tensor);
  return {sizes.begin(), sizes.end()};
}

const TensorEntry& tensor_of(const Catalog& catalog, std::string_view name) {
  for (const TensorEntry& tensor : catalog.tensors)
    if (tensor.name == name) return tensor;
  throw std::out_of_range(std::string(name));
}

const Node& value_of(const Catalog& catalog, std::string_view key) {
  const Node* node = catalog.find_key(catalog.metadata, key);
  if (node == nullptr) throw std::out_of_range(std::string(key));
  return *node;
}

Node item(const Catalog& catalog, const Node& list, std::size_t index) {
  if (index >= list.count) throw std::out_of_range("no such item");
  return catalog.node(catalog.child(list, index));
}

std::string_view text_of(const Node& node) { return {node.text, node.count}; }

/// A bit of everything: two tensors, a scalar, an array of numbers, one of strings, one of arrays.
std::string sample(std::uint32_t version, bool big_endian) {
  GgufBuilder file(version, big_endian);
  file.text("general.architecture", "heft")
      .pair("t.u32", GgufValue::u32, file.number(std::uint32_t{7}))
      .pair("t.arr", GgufValue::array,
            file.array_head(GgufValue::i32, 2) + file.number(std::int32_t{1}) + file.number(std::int32_t{-2}))
      .pair("t.strs", GgufValue::array, file.array_head(GgufValue::string, 2) + file.string("a") + file.string(""))
      .pair("t.nested", GgufValue::array,
            file.array_head(GgufValue::array, 2) + file.array_head(GgufValue::u8, 2) + "\x01\x02" +
                file.array_head(GgufValue::boolean, 1) + "\x01")
      .tensor("a", {3, 2}, f32, std::string(24, 'a'))
      .tensor("q", {32, 2}, q4_0, std::string(36, 'q'));
  return file.build();
}

}  // namespace

TEST_CASE("gguf: every version and byte order has the same catalog") {
  for (const std::uint32_t version : {1u, 2u, 3u})
    for (const bool big_endian : {false, true}) {
      CAPTURE(version);
      CAPTURE(big_endian);
      const std::string bytes = sample(version, big_endian);
      const Catalog catalog = read_bytes(gguf_format, bytes);
      test::SoundCatalog(catalog, bytes.size()).check();
      REQUIRE(catalog.tensors.size() == 2);
      const TensorEntry& a = catalog.tensors[0];
      CHECK(a.name == "a");
      CHECK(a.dtype == DType::f32);
      CHECK(shape_of(catalog, a) == std::vector<std::int64_t>{2, 3});
      CHECK(bytes.substr(a.begin, a.size) == std::string(24, 'a'));
      CHECK(((a.flags & swapped) != 0) == big_endian);
      const TensorEntry& q = catalog.tensors[1];
      CHECK(q.dtype == DType::q4_0);
      CHECK(bytes.substr(q.begin, q.size) == std::string(36, 'q'));
      CHECK(text_of(value_of(catalog, "general.architecture")) == "heft");
      CHECK(value_of(catalog, "t.u32").integer == 7);
      CHECK(item(catalog, value_of(catalog, "t.arr"), 1).integer == -2);
      CHECK(text_of(item(catalog, value_of(catalog, "t.strs"), 0)) == "a");
      const Node& nested = value_of(catalog, "t.nested");
      REQUIRE(nested.count == 2);
      CHECK(item(catalog, item(catalog, nested, 0), 1).integer == 2);
      CHECK(item(catalog, item(catalog, nested, 1), 0).kind == NodeKind::boolean);
      CHECK(catalog.notes.empty());
    }
}

TEST_CASE("gguf: scalars keep their value and their type") {
  GgufBuilder file;
  file.pair("u8", GgufValue::u8, file.number(std::uint8_t{255}))
      .pair("i8", GgufValue::i8, file.number(std::int8_t{-128}))
      .pair("u16", GgufValue::u16, file.number(std::uint16_t{65535}))
      .pair("i16", GgufValue::i16, file.number(std::int16_t{-32768}))
      .pair("u32", GgufValue::u32, file.number(std::uint32_t{4294967295}))
      .pair("i32", GgufValue::i32, file.number(INT32_MIN))
      .pair("f32", GgufValue::f32, file.number(0.1f))
      .pair("bool", GgufValue::boolean, file.number(std::uint8_t{1}))
      .pair("u64", GgufValue::u64, file.number(UINT64_MAX))
      .pair("i64", GgufValue::i64, file.number(INT64_MIN))
      .pair("f64", GgufValue::f64, file.number(0.1));
  const Catalog catalog = read_bytes(gguf_format, file.build());
  CHECK(value_of(catalog, "u8").integer == 255);
  CHECK(value_of(catalog, "i8").integer == -128);
  CHECK(value_of(catalog, "u16").integer == 65535);
  CHECK(value_of(catalog, "i16").integer == -32768);
  CHECK(value_of(catalog, "u32").integer == 4294967295);
  CHECK(value_of(catalog, "i32").integer == INT32_MIN);
  CHECK(value_of(catalog, "f32").real == static_cast<double>(0.1f));
  CHECK(value_of(catalog, "bool").kind == NodeKind::boolean);
  CHECK(value_of(catalog, "bool").integer == 1);
  CHECK(value_of(catalog, "u64").kind == NodeKind::unsigned_integer);
  CHECK(value_of(catalog, "u64").unsigned_integer == UINT64_MAX);
  CHECK(value_of(catalog, "i64").integer == INT64_MIN);
  CHECK(value_of(catalog, "f64").real == 0.1);
  CHECK(value_of(catalog, "u16").dtype == DType::u16);
}

TEST_CASE("gguf: reads all 35 current types, and maps them back to their numbers") {
  std::size_t live = 0;
  for (std::uint32_t id = 0; id < 64; ++id) {
    const auto type = gguf::tensor_type(id);
    if (!type || type->dtype == DType::unknown) continue;
    ++live;
    CAPTURE(id);
    const DTypeInfo& row = info(type->dtype);
    CHECK(row.name == type->name);
    CHECK(gguf::type_id(type->dtype) == id);
    GgufBuilder file;
    file.tensor("t", {row.block_elements, 3}, id, std::string(3 * row.block_bytes, '\0'));
    const Catalog catalog = read_bytes(gguf_format, file.build());
    CHECK(catalog.tensors.at(0).dtype == type->dtype);
    CHECK(catalog.tensors.at(0).size == 3 * row.block_bytes);
  }
  CHECK(live == 35);
}

TEST_CASE("gguf: a removed or unknown type is named, and the rest of the file is readable") {
  GgufBuilder file;
  file.tensor("old", {32}, 31, std::string(18, 'o'))
      .tensor("new", {32}, 4000, std::string(40, 'n'))
      .tensor("a", {4}, f32, std::string(16, 'a'));
  const std::string bytes = file.build();
  const Catalog catalog = read_bytes(gguf_format, bytes);
  const TensorEntry& old = tensor_of(catalog, "old");
  CHECK(old.dtype == DType::unknown);
  CHECK(catalog.type_names.at(old.type_name) == "q4_0_4_4");
  CHECK(bytes.substr(old.begin, 18) == std::string(18, 'o'));
  CHECK(catalog.type_names.at(tensor_of(catalog, "new").type_name) == "ggml type 4000");
  CHECK(tensor_of(catalog, "new").size == 64);  // up to the next tensor
  CHECK(bytes.substr(tensor_of(catalog, "a").begin, 16) == std::string(16, 'a'));
}

TEST_CASE("gguf: reads files that only ggml refuses, with a note") {
  GgufBuilder gap;
  gap.tensor("a", {1}, f32, "aaaa", 0).tensor("b", {1}, f32, std::string(64, 'b'), 64);
  CHECK(read_bytes(gguf_format, gap.build()).notes.size() == 1);
  GgufBuilder order;
  order.tensor("b", {1}, f32, "aaaa", 32).tensor("a", {1}, f32, "bbbb", 0);
  const Catalog catalog = read_bytes(gguf_format, order.build());
  CHECK(catalog.notes.size() == 1);
  CHECK(catalog.tensors[0].name == "a");
  GgufBuilder plain;
  plain.tensor("a", {1}, f32, "aaaa");
  CHECK(read_bytes(gguf_format, plain.build() + std::string(100, 'x')).notes.size() == 1);
  GgufBuilder name;
  name.tensor(std::string(64, 'n'), {1}, f32, "aaaa");
  CHECK(read_bytes(gguf_format, name.build()).notes.size() == 1);
}

TEST_CASE("gguf: removes trailing NULs of names, for files of 2023") {
  GgufBuilder file;
  file.text(std::string("key\0\0", 5), "v").tensor(std::string("a\0", 2), {1}, f32, "aaaa");
  const Catalog catalog = read_bytes(gguf_format, file.build());
  CHECK(catalog.tensors[0].name == "a");
  CHECK(catalog.find_key(catalog.metadata, "key") != nullptr);
}

TEST_CASE("gguf: a tensor of rank 0 is one element, a file without tensors needs no data") {
  GgufBuilder scalar;
  scalar.tensor("s", {}, f32, "ssss");
  const Catalog catalog = read_bytes(gguf_format, scalar.build());
  CHECK(catalog.tensors[0].rank == 0);
  CHECK(catalog.tensors[0].size == 4);
  CHECK(read_bytes(gguf_format, GgufBuilder().build()).tensors.empty());
}

// ---- hostile files ----

namespace {

struct Hostile {
  const char* what;
  std::string bytes;
  ErrorCode code;
  const char* words;  ///< must be in the message
};

GgufBuilder one_tensor(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                       std::optional<std::uint64_t> offset = {}) {
  GgufBuilder file;
  file.tensor(name, dims, type, std::string(64, 'x'), offset);
  return file;
}

GgufBuilder one_pair(std::string_view key, GgufValue type, std::string_view value) {
  GgufBuilder file;
  file.pair(key, type, value);
  return file;
}

std::string nested(std::size_t depth) {
  const GgufBuilder file;
  std::string value;
  for (std::size_t i = 1; i < depth; ++i) value += file.array_head(GgufValue::array, 1);
  return value + file.array_head(GgufValue::u8, 0);
}

std::vector<Hostile> hostile_files() {
  using enum ErrorCode;
  const GgufBuilder n;
  const std::uint64_t huge = UINT64_MAX;
  GgufBuilder twice, twins, overlap, misplaced, inner_nul, wrong_alignment, odd_alignment, zero_alignment,
      lone_alignment;
  GgufBuilder no_number, text_count, negative_number, many_parts;
  twice.text("k", "v").text("k", "w");
  twins.tensor("a", {1}, f32, "aaaa").tensor("a", {1}, f32, "bbbb");
  overlap.tensor("a", {16}, f32, std::string(64, 'a')).tensor("b", {1}, f32, "bbbb", 32);
  misplaced.alignment(64).tensor("a", {1}, f32, std::string(64, 'a')).tensor("b", {1}, f32, "bbbb", 32);
  inner_nul.tensor(std::string("a\0b", 3), {1}, f32, "aaaa");
  wrong_alignment.pair("general.alignment", GgufValue::u64, n.number(std::uint64_t{32})).tensor("a", {1}, f32, "aaaa");
  odd_alignment.pair("general.alignment", GgufValue::u32, n.number(3u)).tensor("a", {1}, f32, "aaaa");
  zero_alignment.pair("general.alignment", GgufValue::u32, n.number(0u)).tensor("a", {1}, f32, "aaaa");
  lone_alignment.pair("general.alignment", GgufValue::u32, n.number(48u));
  no_number.pair("split.count", GgufValue::u16, n.number(std::uint16_t{3}));
  text_count.text("split.count", "3");
  negative_number.pair("split.count", GgufValue::i32, n.number(std::int32_t{3}))
      .pair("split.no", GgufValue::i32, n.number(std::int32_t{-1}));
  many_parts.pair("split.count", GgufValue::u64, n.number(huge / 4))
      .pair("split.no", GgufValue::u16, n.number(std::uint16_t{0}));
  return {
      {"only the magic", "GGUF", corrupt, "version"},
      {"version 0", "GGUF" + n.number(0u), unsupported, "version 0"},
      {"version 4", "GGUF" + n.number(4u), unsupported, "heft reads 1 to 3"},
      {"more tensors than bytes", GgufBuilder().declare(huge, {}).build(), limit_exceeded, "tensors"},
      {"tensors that cannot follow", GgufBuilder().declare(1000, {}).build(), corrupt, "number of tensors is 1000"},
      {"more pairs than bytes", GgufBuilder().declare({}, huge).build(), corrupt, "key-value pairs"},
      {"key longer than the file",
       "GGUF" + n.number(3u) + n.length(0) + n.length(1) + n.length(1000) + std::string(40, 'k'), corrupt,
       "metadata key"},
      {"key of 2^64-1 bytes", "GGUF" + n.number(3u) + n.length(0) + n.length(1) + n.length(huge) + std::string(40, 'k'),
       corrupt, "metadata key"},
      {"empty key", one_pair("", GgufValue::u8, "x").build(), corrupt, "empty"},
      {"key twice", twice.build(), ambiguous, "'k' occurs twice"},
      {"unknown value type", one_pair("k", GgufValue{13}, "x").build(), corrupt, "type 13"},
      {"boolean of 2", one_pair("k", GgufValue::boolean, "\x02").build(), corrupt, "boolean is 2"},
      {"array of 2^64-1 bytes", one_pair("k", GgufValue::array, n.array_head(GgufValue::u8, huge)).build(), corrupt,
       "array elements"},
      {"array of 2^61 strings", one_pair("k", GgufValue::array, n.array_head(GgufValue::string, 1ull << 61)).build(),
       corrupt, "array elements"},
      {"arrays 65 deep", one_pair("k", GgufValue::array, nested(65)).build(), limit_exceeded, "metadata_depth"},
      {"arrays 100,000 deep", one_pair("k", GgufValue::array, nested(100'000)).build(), limit_exceeded,
       "metadata_depth"},
      {"rank 5", one_tensor("a", {1, 1, 1, 1, 1}, f32).build(), corrupt, "rank 5"},
      {"rank 2^32-1",
       "GGUF" + n.number(3u) + n.length(1) + n.length(0) + n.string("a") + n.number(UINT32_MAX) + std::string(64, 0),
       corrupt, "rank 4294967295"},
      {"dim of 2^63", one_tensor("a", {1ull << 63}, f32).build(), corrupt, "63 bits"},
      {"dims whose product wraps", one_tensor("a", {1ull << 32, 1ull << 32}, f32).build(), corrupt, "'a'"},
      {"dims whose product wraps to what is there", one_tensor("a", {1ull << 62, 4, 4, 1}, f32).build(), corrupt,
       "'a'"},
      {"huge dims beside a zero", one_tensor("a", {1ull << 62, 1ull << 62, 0}, f32).build(), corrupt, "'a'"},
      {"a row of half a block", one_tensor("a", {16, 2}, q4_0).build(), corrupt, "'a'"},
      {"data past the end", one_tensor("a", {17}, f32).build(), corrupt, "past the file's"},
      {"offset past the end", one_tensor("a", {1}, f32, 1ull << 40).build(), corrupt, "past the file's"},
      {"offset that wraps", one_tensor("a", {1}, f32, huge - 31).build(), corrupt, "past the file's"},
      {"offset off the alignment", one_tensor("a", {1}, f32, 4).build(), corrupt, "multiple of the alignment 32"},
      {"offset on 32 where 64 is declared", misplaced.build(), corrupt, "multiple of the alignment 64"},
      {"two tensors in one place", overlap.build(), ambiguous, "overlap"},
      {"two tensors of one name", twins.build(), ambiguous, "'a'"},
      {"a NUL inside a name", inner_nul.build(), ambiguous, "NUL"},
      {"alignment of another type", wrong_alignment.build(), corrupt, "general.alignment"},
      {"alignment of 3", odd_alignment.build(), corrupt, "general.alignment"},
      {"alignment of 0", zero_alignment.build(), corrupt, "general.alignment"},
      {"alignment of 48 in a file without tensors", lone_alignment.build(), corrupt, "general.alignment"},
      {"a part of three without its number", no_number.build(), corrupt,
       "split.no is expected to be under split.count"},
      {"a number of parts that is a text", text_count.build(), corrupt, "split.count is expected to be an integer"},
      {"part -1", negative_number.build(), corrupt, "split.no is expected to be an integer"},
      {"2^62 parts", many_parts.build(), limit_exceeded, "parts"},
  };
}

}  // namespace

TEST_CASE("gguf: hostile files are refused, each with its reason") {
  for (const Hostile& file : hostile_files()) {
    CAPTURE(std::string(file.what));
    try {
      read_bytes(gguf_format, file.bytes);
      FAIL_CHECK("it was read");
    } catch (const Error& error) {
      CHECK(name(error.code()) == name(file.code));
      CHECK_MESSAGE(std::string_view(error.what()).find(file.words) != std::string_view::npos,
                    std::string(error.what()));
    }
  }
}

TEST_CASE("gguf: applies the caller's limits") {
  ReadOptions options;
  options.limits.tensors = 1;
  CHECK_FALSE(is_read(gguf_format, sample(3, false), options));
  options = {};
  options.limits.metadata_items = 5;
  CHECK_FALSE(is_read(gguf_format, sample(3, false), options));
  options = {};
  options.limits.name_bytes = 3;
  CHECK_FALSE(is_read(gguf_format, sample(3, false), options));
  options = {};
  options.limits.metadata_depth = 200'000;
  CHECK(is_read(gguf_format, one_pair("k", GgufValue::array, nested(100'000)).build(), options));
}

TEST_CASE("gguf: refuses every prefix, and no flipped bit reads outside the file") {
  for (const std::uint32_t version : {1u, 3u}) {
    const std::string bytes = sample(version, version == 1);
    CHECK(test::readable_prefixes(gguf_format, bytes) == 0);
    test::flip_every_bit(gguf_format, bytes, bytes.size() - 68);
  }
}

// ---- splits ----

namespace {

std::string part(std::uint16_t number, std::uint16_t count) {
  GgufBuilder file;
  file.pair("split.no", GgufValue::u16, file.number(number))
      .pair("split.count", GgufValue::u16, file.number(count))
      .pair("split.tensors.count", GgufValue::i32, file.number(std::int32_t{5}));
  return file.build();
}

Catalog read_part(std::uint16_t number, std::uint16_t count, std::string_view file_name) {
  ReadOptions options;
  options.file_name = file_name;
  return read_bytes(gguf_format, part(number, count), options);
}

}  // namespace

TEST_CASE("gguf: any part of a split names all of them") {
  const Catalog catalog = read_part(1, 3, "m-00002-of-00003.gguf");
  CHECK(catalog.split_index == 1);
  CHECK(catalog.split_tensors == 5);
  const std::vector<std::string_view> names = {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf",
                                               "m-00003-of-00003.gguf"};
  CHECK(catalog.shards == names);
  CHECK(read_part(0, 1, "m.gguf").shards.empty());
  CHECK(read_part(2, 3, "").shards.empty());
  CHECK(read_part(2, 3, "").split_index == 2);
}

TEST_CASE("gguf: a part whose name and keys disagree is refused") {
  CHECK_THROWS_WITH_AS(read_part(1, 3, "m-00001-of-00003.gguf"), doctest::Contains("-00002-of-00003.gguf"), Error);
  CHECK_THROWS_AS(read_part(1, 3, "m.gguf"), Error);
  CHECK_THROWS_WITH_AS(read_part(3, 3, "m-00004-of-00003.gguf"), doctest::Contains("split.no"), Error);
}

// ---- files that other programs wrote ----

namespace {

std::string file_content(const std::filesystem::path& path) { return test::content_of(path); }

float f32_at(const std::string& bytes, const TensorEntry& tensor, std::size_t index) {
  const auto* from = reinterpret_cast<const std::byte*>(bytes.data()) + tensor.begin + 4 * index;
  return (tensor.flags & swapped) != 0 ? core::load_be<float>(from) : core::load_le<float>(from);
}

}  // namespace

TEST_CASE("gguf: accepts and refuses crafted fixtures as ggml does, or has a stated reason") {
  const auto folder = test::fixtures("gguf-synthetic");
  if (!folder) return;
  // Files that ggml refuses and heft reads: version 1, big-endian, gaps, and names of 64 bytes.
  const std::map<std::string, bool> differs = {
      {"ok/v1-le.gguf", true}, {"ok/v2-be.gguf", true}, {"ok/offsets-gap.gguf", true}, {"hostile/name-64.gguf", true}};
  for (const test::Row& row : test::read_tsv(*folder / "INDEX.tsv")) {
    CAPTURE(row.at(0));
    const std::string bytes = file_content(*folder / row[0]);
    const bool ggml_loads = row.at(3) == "OK";
    const bool expected = differs.contains(row[0]) ? !ggml_loads : ggml_loads;
    const auto* head = reinterpret_cast<const std::byte*>(bytes.data());
    CHECK((gguf_format.matches({head, 4}, bytes.size()) && is_read(gguf_format, bytes)) == expected);
  }
}

TEST_CASE("gguf: the versions' fixtures hold the same values") {
  const auto folder = test::fixtures("gguf-synthetic");
  if (!folder) return;
  for (const char* file : {"v1-le", "v2-le", "v2-be", "v3-le"}) {
    CAPTURE(file);
    const std::string bytes = file_content(*folder / "ok" / (std::string(file) + ".gguf"));
    const Catalog catalog = read_bytes(gguf_format, bytes);
    REQUIRE(catalog.tensors.size() == 2);
    CHECK(shape_of(catalog, tensor_of(catalog, "a")) == std::vector<std::int64_t>{2, 3});
    CHECK(shape_of(catalog, tensor_of(catalog, "q")) == std::vector<std::int64_t>{32});
    CHECK(tensor_of(catalog, "q").dtype == DType::q8_0);
    for (std::size_t i = 0; i < 6; ++i) CHECK(f32_at(bytes, tensor_of(catalog, "a"), i) == static_cast<float>(i));
    CHECK(value_of(catalog, "t.u32").integer == 7);
    CHECK(item(catalog, value_of(catalog, "t.arr"), 1).integer == -2);
    CHECK(text_of(item(catalog, value_of(catalog, "t.strs"), 2)) == "b");
  }
}

TEST_CASE("gguf: ggml's file of all types has the types and sizes its index states") {
  const auto folder = test::fixtures("ggml-reference-output");
  if (!folder) return;
  const Catalog catalog = read_bytes(gguf_format, file_content(*folder / "all-types.gguf"));
  const auto rows = test::read_tsv(*folder / "index.tsv");
  CHECK(catalog.tensors.size() == 68);
  CHECK(rows.size() == 64);  // four of the types came later
  for (const test::Row& row : rows) {
    CAPTURE(row.at(0));
    const TensorEntry& tensor = tensor_of(catalog, row[0]);
    CHECK(gguf::type_id(tensor.dtype) == std::stoul(row.at(2)));
    CHECK(info(tensor.dtype).block_elements == std::stoul(row.at(3)));
    CHECK(info(tensor.dtype).block_bytes == std::stoul(row.at(4)));
    CHECK(shape_of(catalog, tensor) == std::vector<std::int64_t>{std::stoll(row.at(6)), std::stoll(row.at(5))});
    CHECK(tensor.size == std::stoull(row.at(7)));
  }
  CHECK(read_bytes(gguf_format, file_content(*folder / "no-tensors.gguf")).tensors.empty());
}

TEST_CASE("gguf: ggml's three-part split declares five tensors and names its parts") {
  const auto folder = test::fixtures("ggml-reference-output");
  if (!folder) return;
  std::size_t tensors = 0;
  for (const char* file : {"split-00001-of-00003.gguf", "split-00002-of-00003.gguf", "split-00003-of-00003.gguf"}) {
    ReadOptions options;
    options.file_name = file;
    const Catalog catalog = read_bytes(gguf_format, file_content(*folder / file), options);
    tensors += catalog.tensors.size();
    CHECK(catalog.split_tensors == 5);
    REQUIRE(catalog.shards.size() == 3);
    CHECK(catalog.shards[catalog.split_index] == file);
  }
  CHECK(tensors == 5);
}

TEST_CASE("gguf: llama.cpp's vocabularies open, with no tensors and all tokens") {
  const auto folder = test::fixtures("ggerganov+llama.cpp");
  if (!folder) return;
  const std::map<std::string, std::pair<std::string, std::uint32_t>> vocabularies = {
      {"ggml-vocab-bert-bge.gguf", {"bert", 30522}},
      {"ggml-vocab-gpt-2.gguf", {"gpt2", 50257}},
      {"ggml-vocab-llama-spm.gguf", {"llama", 32000}},
  };
  for (const auto& [file, expected] : vocabularies) {
    CAPTURE(file);
    const Catalog catalog = read_bytes(gguf_format, file_content(*folder / "models" / file));
    CHECK(catalog.tensors.empty());
    CHECK(text_of(value_of(catalog, "general.architecture")) == expected.first);
    CHECK(value_of(catalog, "tokenizer.ggml.tokens").count == expected.second);
  }
}

// ---- size ----

namespace {

/// The head of Llama-3-8B as llama.cpp converts it: 291 tensors, 128,256 tokens and types, 280,147 merges. Its payload
/// is not there.
std::string llama_3_head() {
  constexpr std::uint64_t tokens = 128'256, merges = 280'147;
  GgufBuilder file;
  std::string token_values = file.array_head(GgufValue::string, tokens);
  std::string type_values = file.array_head(GgufValue::i32, tokens);
  std::string merge_values = file.array_head(GgufValue::string, merges);
  for (std::uint64_t i = 0; i < tokens; ++i) {
    token_values += file.string("token" + std::to_string(i));
    type_values += file.number(std::int32_t{1});
  }
  for (std::uint64_t i = 0; i < merges; ++i) merge_values += file.string("me " + std::to_string(i));
  file.text("general.architecture", "llama")
      .pair("tokenizer.ggml.tokens", GgufValue::array, token_values)
      .pair("tokenizer.ggml.token_type", GgufValue::array, type_values)
      .pair("tokenizer.ggml.merges", GgufValue::array, merge_values);
  for (int i = 0; i < 291; ++i) file.tensor("blk." + std::to_string(i) + ".weight", {4096}, f32, std::string(16384, 0));
  return file.build();
}

}  // namespace

TEST_CASE("gguf: 536,659 tokenizer values open without a copy of one") {
  const std::string bytes = llama_3_head();
  const core::MemoryInput input(test::exact_bytes(bytes));
  const Catalog catalog = gguf_format.read(input, {});
  const Node& tokens = value_of(catalog, "tokenizer.ggml.tokens");
  CHECK(text_of(item(catalog, tokens, 128'255)) == "token128255");
  CHECK(catalog.arena.size_bytes() == 0);
  CHECK(catalog.nodes.size() < 20);
}

namespace {

/// Each read is a piece of memory of its own, as with files.
class PiecewiseInput final : public core::Input {
 public:
  explicit PiecewiseInput(std::string_view bytes) noexcept : bytes_(bytes) {}
  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return bytes_.size(); }
  [[nodiscard]] Bytes read(std::uint64_t offset, std::uint64_t size) const override {
    return test::exact_bytes(bytes_.substr(offset, size));
  }

 private:
  std::string_view bytes_;
};

}  // namespace

TEST_CASE("gguf: every string of a large array is found, wherever a piece of the file ends") {
  for (const std::uint32_t version : {1u, 3u})
    for (const bool big_endian : {false, true}) {
      GgufBuilder file(version, big_endian);
      constexpr std::uint32_t count = 60'000;
      const auto word = [](std::uint32_t i) { return std::string(i * 2654435761u >> 28, 'x') + std::to_string(i); };
      std::string values = file.array_head(GgufValue::string, count);
      for (std::uint32_t i = 0; i < count; ++i) values += file.string(word(i));
      std::string numbers = file.array_head(GgufValue::i16, count);
      for (std::uint32_t i = 0; i < count; ++i) numbers += file.number(static_cast<std::int16_t>(i));
      file.pair("words", GgufValue::array, values).pair("numbers", GgufValue::array, numbers);
      const std::string bytes = file.build();
      const Catalog catalog = gguf_format.read(PiecewiseInput(bytes), {});
      CHECK(catalog.kept.size() == 3);  // of 256, 512 and at most 1024 KiB
      const Node& words = value_of(catalog, "words");
      const Node& integers = value_of(catalog, "numbers");
      REQUIRE(words.count == count);
      REQUIRE(integers.count == count);
      std::size_t wrong = 0;
      for (std::uint32_t i = 0; i < count; ++i) {
        wrong += text_of(item(catalog, words, i)) != word(i);
        wrong += item(catalog, integers, i).integer != static_cast<std::int16_t>(i);
      }
      CHECK(wrong == 0);
      CHECK(item(catalog, integers, 7).dtype == DType::i16);
    }
}
