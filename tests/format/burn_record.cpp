#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <libdeflate.h>

#include "core/gather_run.hpp"
#include "format/formats.hpp"
#include "format/msgpack/number_lists.hpp"
#include "format/reading.hpp"
#include "support/catalog_checks.hpp"
#include "support/fixtures.hpp"
#include "support/pack_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using namespace heft::format;
using namespace heft::test::pack;
using test::read_bytes;

namespace {

std::string record(const std::string& item, const char* real = "f32", const char* integer = "i32") {
  return map({text("metadata"),
              map({text("float"), text(real), text("int"), text(integer), text("format"), text("NamedMpk"),
                   text("version"), text("0.17.0"), text("settings"), text("x")}),
              text("item"), item, text("_b"), nil()});
}

std::string data(const std::string& payload, const std::vector<std::uint64_t>& dims, const std::string& dtype) {
  return map({text("bytes"), bytes(payload), text("shape"), shape(dims), text("dtype"), dtype});
}

std::string values(const std::vector<std::string>& numbers, const std::vector<std::uint64_t>& dims) {
  return map({text("value"), list(numbers), text("shape"), shape(dims)});
}

std::string parameter(const std::string& id, const std::string& inner) {
  return map({text("id"), text(id), text("param"), inner});
}

std::string sample() {
  return record(map({text("conv"),
                     map({text("weight"), parameter("p1", data("12345678", {2}, text("F32"))), text("bias"), nil(),
                          text("stride"), list({natural(1), natural(2)})}),
                     text("blocks"),
                     list({map({text("w"), parameter("p2", values({real32(1.5F), real32(-2.5F), real32(0)}, {3}))})}),
                     text("mask"), data(std::string("\1\0", 2), {1, 2}, map({text("Bool"), text("Native")}))}));
}

std::string gzip(const std::string& content, const std::string& name = {}) {
  libdeflate_compressor* compressor = libdeflate_alloc_compressor(6);
  std::string deflated(libdeflate_deflate_compress_bound(compressor, content.size()), '\0');
  deflated.resize(
      libdeflate_deflate_compress(compressor, content.data(), content.size(), deflated.data(), deflated.size()));
  libdeflate_free_compressor(compressor);
  const std::string head = std::string("\x1F\x8B\x08") + static_cast<char>(name.empty() ? 0 : 8) +
                           std::string(6, '\0') + (name.empty() ? "" : name + '\0');
  return head + deflated + test::little(libdeflate_crc32(0, content.data(), content.size()), 4) +
         test::little(content.size(), 4);
}

const TensorEntry& named(const Catalog& catalog, std::string_view name) {
  const auto found = std::ranges::find(catalog.tensors, name, &TensorEntry::name);
  REQUIRE_MESSAGE(found != catalog.tensors.end(), std::string(name));
  return *found;
}

const Node& value(const Catalog& catalog, std::string_view name) {
  const auto found = std::ranges::find(catalog.values, name, &Value::name);
  REQUIRE_MESSAGE(found != catalog.values.end(), std::string(name));
  return catalog.nodes[found->node];
}

/// The elements of a list that lies in `document`, gathered.
template <class T>
std::vector<T> gathered(const Catalog& catalog, const TensorEntry& tensor, const std::string& document) {
  const NumberLists& lists = *catalog.members.at(tensor.member).lists;
  const NumberList& list = lists.lists().at(lists.find(tensor.begin));
  CHECK(list.address == tensor.begin);
  CHECK(list.size == tensor.size);
  const auto bytes = std::as_bytes(std::span(document)).subspan(list.steps.begin, list.steps.end - list.steps.begin);
  std::vector<T> numbers(tensor.size / sizeof(T));
  const Gathered done = gather_numbers(tensor.dtype, bytes, list.steps.begin,
                                       reinterpret_cast<std::byte*>(numbers.data()), numbers.size(), core::gather_run);
  CHECK(done.numbers == numbers.size());
  CHECK(done.used == bytes.size());
  return numbers;
}

std::string list_record(const std::vector<std::string>& numbers, const char* real = "f32",
                        const char* integer = "i32") {
  return record(map({text("t"), values(numbers, {numbers.size()})}), real, integer);
}

Catalog list_of(const std::vector<std::string>& numbers, const char* real = "f32", const char* integer = "i32") {
  return read_bytes(burn_record_format, list_record(numbers, real, integer));
}

/// The elements of a record of one list.
template <class T>
std::vector<T> elements(const std::vector<std::string>& numbers, const char* real = "f32",
                        const char* integer = "i32") {
  const std::string file = list_record(numbers, real, integer);
  const Catalog catalog = read_bytes(burn_record_format, file);
  return gathered<T>(catalog, catalog.tensors.at(0), file);
}

}  // namespace

TEST_CASE("burn record: parameters are tensors in place, everything else is a record") {
  const std::string file = sample();
  const Catalog catalog = read_bytes(burn_record_format, file);
  test::SoundCatalog(catalog, file.size()).check();
  REQUIRE(catalog.tensors.size() == 3);
  const TensorEntry& weight = named(catalog, "conv.weight");
  CHECK(file.substr(weight.begin, weight.size) == "12345678");
  CHECK(weight.dtype == DType::f32);
  CHECK(named(catalog, "mask").dtype == DType::boolean);
  CHECK(catalog.sizes(named(catalog, "mask")).size() == 2);
  CHECK(gathered<float>(catalog, named(catalog, "blocks.0.w"), file) == std::vector<float>{1.5F, -2.5F, 0});
  CHECK(named(catalog, "blocks.0.w").flags == spelled);
  CHECK(value(catalog, "conv.bias").kind == NodeKind::null);
  CHECK(value(catalog, "conv.stride").kind == NodeKind::list);
  CHECK(catalog.detail == "a record of Burn 0.17.0");
  const Node& pairs = catalog.nodes[catalog.metadata];
  REQUIRE(pairs.count == 6);
  const Node& ids = catalog.nodes[catalog.children[pairs.first + 11]];
  CHECK(ids.count == 2);
  const Node& id = catalog.nodes[catalog.children[ids.first + 1]];
  CHECK(std::string_view(id.text, id.count) == "p1");
}

TEST_CASE("burn record: value lists become tensors of the type they were saved from") {
  CHECK(list_of({real64(0.1), real64(-1)}).tensors.at(0).dtype == DType::f64);
  CHECK(list_of({boolean(true), boolean(false)}).tensors.at(0).dtype == DType::boolean);
  CHECK(elements<std::int32_t>({natural(1), integer(-2), natural(3)}) == std::vector<std::int32_t>{1, -2, 3});
  CHECK(list_of({natural(1)}, "f32", "i64").tensors.at(0).dtype == DType::i64);
  CHECK(list_of({natural(1)}, "f32", "u8").tensors.at(0).dtype == DType::u8);
  const Catalog halves = list_of({natural(0x3C00), natural(0xC000)}, "half::binary16::f16", "i16");
  CHECK(halves.tensors.at(0).dtype == DType::f16);
  CHECK(elements<std::uint16_t>({natural(0x3C00), natural(0xC000)}, "f16") ==
        std::vector<std::uint16_t>{0x3C00, 0xC000});
  CHECK(list_of({natural(0x3F80)}, "half::bfloat::bf16").tensors.at(0).dtype == DType::bf16);
  CHECK(list_of({integer(-1), natural(2)}, "half::binary16::f16", "i16").tensors.at(0).dtype == DType::i16);
  CHECK(list_of({}).tensors.at(0).size == 0);
  CHECK(list_of({}).members.empty());
}

TEST_CASE("burn record: an integer that does not fit its type is found when it is gathered, at its byte") {
  const std::string file = list_record({natural(7), natural(std::uint64_t{1} << 40)});
  const Catalog catalog = read_bytes(burn_record_format, file);
  const Error error = test::thrown_by([&] { return gathered<std::int32_t>(catalog, catalog.tensors.at(0), file); });
  CHECK(error.code() == ErrorCode::corrupt);
  CHECK(error.message().find("fit i32") != std::string::npos);
  CHECK(error.offset() == file.find('\xCF'));
}

TEST_CASE("burn record: NaNs of a value list keep their bits") {
  CHECK(elements<std::uint32_t>({sized("\xCA", 0x7FC12345, 4), sized("\xCA", 0x7F812345, 4)}) ==
        std::vector<std::uint32_t>{0x7FC12345, 0x7F812345});
}

TEST_CASE("burn record: maps that only start like a tensor are records") {
  const Catalog catalog =
      read_bytes(burn_record_format, record(map({
                                         text("a"),
                                         map({text("id"), text("x"), text("param"), natural(3)}),
                                         text("b"),
                                         map({text("value"), list({natural(1), text("x")}), text("shape"), shape({2})}),
                                         text("c"),
                                         map({text("value"), list({natural(1)}), text("other"), natural(2)}),
                                         text("d"),
                                         map({text("bytes"), text("x"), text("shape"), nil(), text("dtype"), nil()}),
                                         text("e"),
                                         map({text("id"), natural(1), text("param"), data("ab", {2}, text("U8"))}),
                                     })));
  REQUIRE(catalog.tensors.size() == 1);
  CHECK(catalog.tensors[0].name == "e.param");
  CHECK(value(catalog, "e.id").integer == 1);
  CHECK(value(catalog, "a").kind == NodeKind::map);
  CHECK(value(catalog, "b").count == 2);
  CHECK(value(catalog, "c").count == 2);
  CHECK(value(catalog, "d").count == 3);
}

TEST_CASE("burn record: gzip holds the same record, inflated on demand") {
  for (const char* name : {"", "model.mpk"}) {
    const std::string file = gzip(sample(), name);
    const auto* head = reinterpret_cast<const std::byte*>(file.data());
    CHECK(format::recognize({head, file.size()}, file.size()) == &burn_record_format);
    const Catalog catalog = read_bytes(burn_record_format, file);
    test::SoundCatalog(catalog, file.size()).check();
    const TensorEntry& weight = named(catalog, "conv.weight");
    CHECK(weight.member == 0);
    CHECK(sample().substr(weight.begin, weight.size) == "12345678");
    CHECK(catalog.members[0].full_size == sample().size());
    const TensorEntry& list = named(catalog, "blocks.0.w");
    CHECK(catalog.members.at(list.member).inside == 0);
    CHECK(gathered<float>(catalog, list, sample()).at(1) == -2.5F);
    CHECK(catalog.members[0].proven);
  }
}

TEST_CASE("burn record: hostile files are refused, each with its reason") {
  using enum ErrorCode;
  const auto with = [](const std::string& value) { return record(map({text("t"), value})); };
  std::string deep = natural(1);
  for (int i = 0; i < 100; ++i) deep = list({deep});
  const std::string head = sample().substr(0, sample().find("\xA4item"));
  const std::string bomb = gzip(std::string(100'000, '\0'));
  std::string long_size = gzip(sample());
  long_size[long_size.size() - 1] = '\x7F';
  std::string wrong_checksum = gzip(sample());
  wrong_checksum[wrong_checksum.size() - 8] ^= 1;
  std::string wrong_size = gzip(sample());
  ++wrong_size[wrong_size.size() - 4];
  const test::Hostile table[] = {
      {"no item", map({text("metadata"), map({})}), corrupt, "no item"},
      {"metadata that are a list", map({text("metadata"), list({})}), corrupt, "expected a map"},
      {"metadata twice", map({text("metadata"), map({}), text("metadata"), map({})}), ambiguous, "twice"},
      {"item twice", map({text("metadata"), map({}), text("item"), map({}), text("item"), map({})}), ambiguous,
       "twice"},
      {"a key of the metadata twice",
       map({text("metadata"), map({text("int"), text("i32"), text("int"), text("i64")})}), ambiguous, "'int'"},
      {"bytes after the record", record(map({})) + natural(1), corrupt, "nothing after"},
      {"a byte that is no MessagePack", with("\xC1"), corrupt, "not MessagePack"},
      {"a map of 2^32 pairs", head + text("item") + "\xDF\xFF\xFF\xFF\xFF", corrupt, "remain"},
      {"a list of 2^32 items", head + text("item") + "\xDD\xFF\xFF\xFF\xFF", corrupt, "remain"},
      {"a text of 2^32 bytes", head + text("item") + "\xDB\xFF\xFF\xFF\xFF", corrupt, "remain"},
      {"bytes of 2^32 bytes", head + text("item") + map({text("t"), map({text("bytes"), "\xC6\xFF\xFF\xFF\xFF"})}),
       corrupt, "remain"},
      {"100 lists in each other", with(deep), limit_exceeded, "metadata_depth"},
      {"100 lists beside the item", map({text("metadata"), map({}), text("item"), map({}), text("x"), deep}),
       limit_exceeded, "metadata_depth"},
      {"a key that is a list", record(map({list({}), natural(1)})), unsupported, "texts or integers"},
      {"a key twice", record(map({text("t"), natural(1), text("t"), natural(2)})), ambiguous, "'t'"},
      {"two ways to one name",
       record(map({text("a"), map({text("b"), data("x", {1}, text("U8"))}), text("a.b"), data("y", {1}, text("U8"))})),
       ambiguous, "this name"},
      {"bytes that do not fit the shape", with(data("123", {2}, text("F32"))), corrupt, "expected 8 bytes"},
      {"dims whose product wraps", with(data("", {std::uint64_t{1} << 32, std::uint64_t{1} << 32}, text("U8"))),
       corrupt, "number of elements"},
      {"33 dims", with(data("1", std::vector<std::uint64_t>(33, 1), text("U8"))), limit_exceeded, "rank"},
      {"a negative dim",
       with(map({text("bytes"), bytes(""), text("shape"), list({integer(-1)}), text("dtype"), text("U8")})), corrupt,
       "an unsigned integer"},
      {"no dtype", with(map({text("bytes"), bytes("x"), text("shape"), shape({1}), text("type"), text("U8")})), corrupt,
       "dtype"},
      {"a dtype that is a number", with(data("x", {1}, natural(3))), corrupt, "dtype"},
      {"numbers of two kinds", with(values({real32(1), natural(2)}, {2})), corrupt, "expected a real number"},
      {"numbers that do not fit the shape", with(values({real32(1)}, {2})), corrupt, "expected 8 bytes"},
      {"gzip of something else", gzip("{\"a\": 1}"), unsupported, "compressed by gzip"},
      {"gzip of zeros", bomb, unsupported, "compressed by gzip"},
      {"gzip that says it is 2 GiB", long_size, limit_exceeded, "inflate_ratio"},
      {"gzip with another checksum", wrong_checksum, corrupt, "checksum"},
      {"gzip of another size", wrong_size, corrupt, "inflated bytes"},
      {"gzip twice", gzip(sample()) + gzip(sample()), corrupt, "gzip"},
      {"gzip of many bytes that are to become few", "\x1F\x8B\x08" + std::string(200'000, '\0'), corrupt, "several"},
      {"gzip with reserved flags", "\x1F\x8B\x08\xE0" + std::string(20, '\0'), unsupported, "flags"},
      {"gzip without an end", "\x1F\x8B\x08" + std::string(9, '\0'), corrupt, "checksum and size"},
      {"gzip with a name without an end", "\x1F\x8B\x08\x08" + std::string(6, '\0') + std::string(9000, 'n'), corrupt,
       "file name"},
  };
  test::check_refusals(burn_record_format, table);
}

TEST_CASE("burn record: applies limits") {
  const auto code = [](Limits limits) {
    ReadOptions options;
    options.limits = limits;
    const auto error = test::refusal(burn_record_format, sample(), options);
    return error ? error->code() : ErrorCode::io;
  };
  Limits limits;
  limits.metadata_items = 3;
  CHECK(code(limits) == ErrorCode::limit_exceeded);
  limits = {};
  limits.tensors = 2;
  CHECK(code(limits) == ErrorCode::limit_exceeded);
  limits = {};
  limits.metadata_bytes = 10;
  CHECK(code(limits) == ErrorCode::limit_exceeded);
  limits = {};
  limits.name_bytes = 8;
  CHECK(code(limits) == ErrorCode::limit_exceeded);
}

TEST_CASE("burn record: refuses every prefix, and no flipped bit reads outside the file") {
  for (const std::string& file : {sample(), gzip(sample())}) {
    CHECK(test::readable_prefixes(burn_record_format, file) == 0);
    test::flip_every_bit(burn_record_format, file, file.size());
  }
}

TEST_CASE("burn record: Burn's files open") {
  const auto folder = test::fixtures("burn");
  if (!folder) return;
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(*folder)) {
    if (entry.path().extension() != ".mpk") continue;
    ++files;
    const std::string bytes = test::content_of(entry.path());
    const Catalog catalog = read_bytes(burn_record_format, bytes);
    test::SoundCatalog(catalog, bytes.size()).check();
    CHECK_FALSE(catalog.tensors.empty());
  }
  if (files == 0) test::skip("the fixtures hold no .mpk");
}
