#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <vector>

#include "format/formats.hpp"
#include "format/reading.hpp"
#include "support/burnpack_builder.hpp"
#include "support/catalog_checks.hpp"
#include "support/cbor_builder.hpp"
#include "support/fixtures.hpp"
#include "support/temp_folder.hpp"

using namespace heft;
using namespace heft::format;
using namespace heft::test::burnpack;
using namespace heft::test::cbor;
using test::little;
using test::read_bytes;

namespace {

std::string sample_metadata() {
  const std::string described =
      map({text("dtype"), text("F32"), text("shape"), list({natural(2), natural(1)}), text("data_offsets"),
           list({natural(0), natural(8)}), text("param_id"), natural(0xFEDCBA9876543210)});
  return metadata({text("a.weight"), described, text("b"), tensor(map({text("Bool"), text("Native")}), {3}, 256, 259)},
                  text("metadata") + map({text("producer"), text("test")}) + text("scalars") +
                      map({text("epoch"), map({text("UInt"), natural(7)}), text("lr"),
                           map({text("Float"), real_bits(0x3FE0000000000000)})}),
                  2);
}

std::string sample() { return file(sample_metadata(), std::string(259, '\1')); }

// The same file, with every length in its metadata indefinite.
std::string indefinite_sample() {
  const std::string all = sample_metadata();
  std::string_view from = all;
  return file(with_indefinite_lengths(from), std::string(259, '\1'));
}

const TensorEntry& named(const Catalog& catalog, std::string_view name) {
  const auto found = std::ranges::find(catalog.tensors, name, &TensorEntry::name);
  REQUIRE(found != catalog.tensors.end());
  return *found;
}

DType dtype_of(const std::string& dtype, std::uint64_t bytes) {
  const std::string bytes_of_file = file(metadata({text("t"), tensor(dtype, {4}, 0, bytes)}), std::string(bytes, 0));
  return read_bytes(burnpack_format, bytes_of_file).tensors.at(0).dtype;
}

}  // namespace

TEST_CASE("burnpack: tensors, ids, scalars and metadata are read, with lengths of both kinds") {
  std::string bytes;
  SUBCASE("definite") { bytes = sample(); }
  SUBCASE("indefinite") { bytes = indefinite_sample(); }
  const Catalog catalog = read_bytes(burnpack_format, bytes);
  test::SoundCatalog(catalog, bytes.size()).check();
  REQUIRE(catalog.tensors.size() == 2);
  CHECK(named(catalog, "a.weight").begin % 256 == 0);
  CHECK(named(catalog, "a.weight").size == 8);
  CHECK(named(catalog, "b").dtype == DType::boolean);
  REQUIRE(catalog.values.size() == 2);
  CHECK(catalog.values[0].name == "epoch");
  CHECK(catalog.nodes[catalog.values[0].node].integer == 7);
  CHECK(catalog.nodes[catalog.values[1].node].real == 0.5);
  const Node& pairs = catalog.nodes[catalog.metadata];
  REQUIRE(pairs.count == 2);
  const Node& ids = catalog.nodes[catalog.children[pairs.first + 3]];
  CHECK(ids.count == 1);
  CHECK(catalog.nodes[catalog.children[ids.first + 1]].unsigned_integer == 0xFEDCBA9876543210);
  CHECK(catalog.notes.empty());
}

TEST_CASE("burnpack: reads every dtype, both forms of bool, and keeps the names of others") {
  const std::pair<const char*, DType> plain[] = {
      {"F64", DType::f64}, {"F32", DType::f32}, {"Flex32", DType::f32}, {"F16", DType::f16},     {"BF16", DType::bf16},
      {"I64", DType::i64}, {"I32", DType::i32}, {"I16", DType::i16},    {"I8", DType::i8},       {"U64", DType::u64},
      {"U32", DType::u32}, {"U16", DType::u16}, {"U8", DType::u8},      {"Bool", DType::boolean}};
  for (const auto& [name, dtype] : plain) {
    CAPTURE(name);
    CHECK(dtype_of(text(name), 4 * element_bytes(dtype)) == dtype);
  }
  CHECK(dtype_of(map({text("Bool"), text("Native")}), 4) == DType::boolean);
  CHECK(dtype_of(map({text("Bool"), text("U8")}), 4) == DType::boolean);
  const std::string words =
      file(metadata({text("w"), tensor(map({text("Bool"), text("U32")}), {4}, 0, 16), text("q"),
                     tensor(map({text("QFloat"), map({text("level"), text("Tensor")})}), {4}, 256, 262)}),
           std::string(262, 0));
  const Catalog catalog = read_bytes(burnpack_format, words);
  CHECK(catalog.type_names.at(named(catalog, "w").type_name) == "Bool(U32)");
  CHECK(catalog.type_names.at(named(catalog, "q").type_name) == "QFloat(..)");
}

TEST_CASE("burnpack: detects the layout of Burn 0.19 by the end of the file") {
  const std::string tensors =
      metadata({text("a"), tensor(text("U8"), {3}, 0, 3), text("b"), tensor(text("F32"), {2}, 3, 11)});
  const std::string plain = file(tensors, "abcdefghijk", false);
  const Catalog catalog = read_bytes(burnpack_format, plain);
  CHECK(catalog.detail.find("0.19") != std::string::npos);
  CHECK(plain.substr(named(catalog, "a").begin, 3) == "abc");
  CHECK(plain.substr(named(catalog, "b").begin, 8) == "defghijk");
  // One tensor that begins at 0 looks alike in both: the end of the file decides.
  const std::string one = metadata({text("a"), tensor(text("U8"), {3}, 0, 3)});
  CHECK(file(one, "abc", false).substr(read_bytes(burnpack_format, file(one, "abc", false)).tensors[0].begin, 3) ==
        "abc");
  CHECK(file(one, "abc").substr(read_bytes(burnpack_format, file(one, "abc")).tensors[0].begin, 3) == "abc");
  CHECK(read_bytes(burnpack_format, file(one, "abcdef")).notes.size() == 1);
}

TEST_CASE("burnpack: an empty tensor shares its offset with the next one, in both layouts") {
  // By name the empty ones stand on either side of their neighbours.
  const std::string tensors =
      metadata({text("a"), tensor(text("U8"), {3}, 0, 3), text("b"), tensor(text("I8"), {0}, 0, 0), text("z"),
                tensor(text("I8"), {2, 0}, 3, 3), text("o"), tensor(text("F64"), {}, 3, 11), text("p"),
                tensor(text("F32"), {0}, 11, 11)});
  const std::string plain = file(tensors, "abcdefghijk", false);
  const Catalog catalog = read_bytes(burnpack_format, plain);
  test::SoundCatalog(catalog, plain.size()).check();
  CHECK(catalog.detail.find("0.19") != std::string::npos);
  CHECK(catalog.tensors.size() == 5);
  CHECK(plain.substr(named(catalog, "a").begin, 3) == "abc");
  CHECK(plain.substr(named(catalog, "o").begin, 8) == "defghijk");
  const std::string padded =
      file(metadata({text("a"), tensor(text("U8"), {3}, 0, 3), text("z"), tensor(text("I8"), {0}, 256, 256), text("o"),
                     tensor(text("U8"), {1}, 256, 257)}),
           std::string(257, 'x'));
  CHECK(read_bytes(burnpack_format, padded).tensors.size() == 3);
}

TEST_CASE("burnpack: hostile files are refused, each with its reason") {
  using enum ErrorCode;
  const auto with = [](const std::string& description) {
    return file(metadata({text("t"), description}), std::string(256, 0));
  };
  const std::string good = tensor(text("U8"), {3}, 0, 3);
  const auto many_keys = [](int count) {
    std::string keys;
    for (int i = 0; i < count; ++i) keys += text("k" + std::to_string(i)) + natural(1);
    return keys;
  };
  std::string deep = natural(1);
  for (int i = 0; i < 100; ++i) deep = list({deep});
  std::string nested;
  for (int i = 0; i < 100'000; ++i) nested += "\x81";
  const test::Hostile table[] = {
      {"version 2", file(metadata({}), "", true, 2), unsupported, "version 2"},
      {"metadata past the end", "NRUB" + little(1, 2) + little(0xFFFFFFFF, 4), corrupt, "metadata"},
      {"no metadata at all", "NRUB" + little(1, 2) + little(0, 4), corrupt, "the metadata"},
      {"metadata that are a list", file(list({}), ""), corrupt, "expected a map"},
      {"no tensors", file(map({text("metadata"), map({})}), ""), corrupt, "'tensors'"},
      {"the key tensors twice", file(map({text("tensors"), map({}), text("tensors"), map({})}), ""), ambiguous,
       "'tensors'"},
      {"bytes after the map", file(metadata({}) + natural(1), ""), corrupt, "nothing after"},
      {"a map of 2^60 pairs", file(head(5, 1) + text("tensors") + head(5, std::uint64_t{1} << 60), ""), corrupt,
       "remain"},
      {"a map of 2^63 pairs", file(head(5, 1) + text("tensors") + head(5, std::uint64_t{1} << 63), ""), corrupt,
       "pairs of a map"},
      {"a text of 2^60 bytes", file(head(5, 1) + head(3, std::uint64_t{1} << 60), ""), corrupt, "end"},
      {"an empty map of indefinite length", file("\xBF\xFF", ""), corrupt, "'tensors'"},
      {"a map without its break", file("\xBF" + text("tensors") + map({}), ""), corrupt, "end 0 bytes later"},
      {"a list without its break", file(metadata({}, text("later") + "\x9F" + natural(1), 1), ""), corrupt,
       "end 0 bytes later"},
      {"a text without its break", file(metadata({}, text("later") + "\x7F" + text("a"), 1), ""), corrupt,
       "end 0 bytes later"},
      {"numbers without a break", file(metadata({}, text("later") + "\x9F" + std::string(1000, '\1'), 1), ""), corrupt,
       "end 0 bytes later"},
      {"a break in a list of definite length",
       file(metadata({}, text("later") + head(4, 2) + natural(1) + "\xFF", 1), ""), corrupt, "a break"},
      {"a break between key and value",
       file(metadata({}, text("later") + indefinite(5, {text("a"), natural(1), text("b")}), 1), ""), corrupt,
       "a break"},
      {"a break alone", file(metadata({}, text("later") + "\xFF", 1), ""), corrupt, "a break"},
      {"a break too many", file(indefinite(5, {text("tensors"), map({})}) + "\xFF", ""), corrupt, "nothing after"},
      {"a text with a chunk of bytes",
       file(metadata({}, text("later") + indefinite(3, {text("a"), head(2, 1) + "b"}), 1), ""), corrupt,
       "a chunk of a text"},
      {"a chunk of indefinite length",
       file(metadata({}, text("later") + indefinite(3, {text("a"), indefinite(3, {text("b")})}), 1), ""), corrupt,
       "a chunk of a text"},
      {"a character in two chunks",
       file(metadata({}, text("later") + indefinite(3, {text("\xC3"), text("\xA4")}), 1), ""), corrupt, "UTF-8"},
      {"100,000 lists of indefinite length opened",
       file(metadata({}, text("later") + std::string(100'000, '\x9F'), 1), ""), limit_exceeded, "metadata_depth"},
      {"100,000 maps of indefinite length opened in what is skipped",
       with(map({text("later"), indefinite(5, {text("a"), std::string(100'000, '\xBF')})})), limit_exceeded,
       "metadata_depth"},
      {"100,000 lists of indefinite length opened in what is skipped",
       with(map({text("later"), std::string(100'000, '\x9F')})), limit_exceeded, "metadata_depth"},
      {"65 keys of indefinite length", file("\xBF" + many_keys(65) + "\xFF", ""), corrupt, "64 keys"},
      {"33 dims of indefinite length",
       with(map({text("dtype"), text("U8"), text("shape"), indefinite(4, std::vector<std::string>(33, natural(1))),
                 text("data_offsets"), list({natural(0), natural(1)})})),
       limit_exceeded, "rank"},
      {"three offsets of indefinite length",
       with(map({text("dtype"), text("U8"), text("shape"), list({}), text("data_offsets"),
                 indefinite(4, {natural(0), natural(1), natural(2)})})),
       corrupt, "two numbers"},
      {"a scalar of no variant", file(metadata({}, text("scalars") + map({text("s"), indefinite(5, {})}), 1), ""),
       corrupt, "a break"},
      {"a tag", file("\xC1" + metadata({}), ""), unsupported, "a tag"},
      {"a reserved byte", file("\x1F", ""), corrupt, "not CBOR"},
      {"a text that is no UTF-8", file(map({text("\xFF\xFE"), natural(1)}), ""), corrupt, "UTF-8"},
      {"100 lists in each other", file(metadata({}, text("later") + deep, 1), ""), limit_exceeded, "metadata_depth"},
      {"100,000 lists opened", file(metadata({}, text("later") + nested, 1), ""), limit_exceeded, "metadata_depth"},
      {"a name twice",
       file(metadata({text("t"), good, text("t"), tensor(text("U8"), {3}, 256, 259)}), std::string(259, 0)), ambiguous,
       "this name"},
      {"a scalar named as a tensor",
       file(metadata({text("t"), good}, text("scalars") + map({text("t"), map({text("UInt"), natural(1)})}), 1), "abc"),
       ambiguous, "this name"},
      {"overlapping tensors",
       file(metadata({text("a"), tensor(text("U8"), {300}, 0, 300), text("b"), tensor(text("U8"), {3}, 256, 259)}),
            std::string(300, 0)),
       ambiguous, "overlap"},
      {"a tensor past the end", file(metadata({text("t"), tensor(text("U8"), {4000}, 0, 4000)}), "abc"), corrupt,
       "expected a file of"},
      {"an end before the start", with(tensor(text("U8"), {3}, 3, 0)), corrupt, "expected an end"},
      {"offsets of 2^64", with(tensor(text("U8"), {3}, 0xFFFFFFFFFFFFFFFC, 0xFFFFFFFFFFFFFFFF)), corrupt,
       "end of the data"},
      {"bytes that do not fit the shape", with(tensor(text("F32"), {3}, 0, 11)), corrupt, "expected 12 bytes"},
      {"dims whose product wraps", with(tensor(text("U8"), {std::uint64_t{1} << 32, std::uint64_t{1} << 32}, 0, 0)),
       corrupt, "number of elements"},
      {"a dim over 2^63", with(tensor(text("U8"), {std::uint64_t{1} << 63}, 0, 0)), corrupt, "63 bits"},
      {"33 dims", with(tensor(text("U8"), std::vector<std::uint64_t>(33, 1), 0, 1)), limit_exceeded, "rank"},
      {"a negative dim",
       with(map({text("dtype"), text("U8"), text("shape"), list({negative(0)}), text("data_offsets"),
                 list({natural(0), natural(0)})})),
       corrupt, "an unsigned integer"},
      {"three offsets",
       with(map({text("dtype"), text("U8"), text("shape"), list({}), text("data_offsets"),
                 list({natural(0), natural(1), natural(2)})})),
       corrupt, "two numbers"},
      {"no dtype", with(map({text("shape"), list({}), text("data_offsets"), list({natural(0), natural(1)})})), corrupt,
       "no dtype"},
      {"a dtype that is a number", with(tensor(natural(4), {3}, 0, 3)), corrupt, "dtype"},
      {"a key of a tensor twice", with(map({text("dtype"), text("U8"), text("dtype"), text("F32")})), ambiguous,
       "'dtype'"},
      {"a param_id that is a text", with(map({text("param_id"), text("x")})), corrupt, "param_id"},
      {"a scalar of two variants",
       file(metadata({}, text("scalars") + map({text("s"), map({text("Int"), natural(1), text("UInt"), natural(1)})}),
                     1),
            ""),
       corrupt, "one variant"},
      {"a scalar of another kind",
       file(metadata({}, text("scalars") + map({text("s"), map({text("Bool"), natural(1)})}), 1), ""), corrupt, "'s'"},
      {"metadata that are no text", file(metadata({}, text("metadata") + map({text("k"), natural(1)}), 1), ""), corrupt,
       "expected a text"},
      {"metadata with a key twice",
       file(metadata({}, text("metadata") + map({text("k"), text("1"), text("k"), text("2")}), 1), ""), ambiguous,
       "'k'"},
  };
  test::check_refusals(burnpack_format, table);
}

TEST_CASE("burnpack: applies limits") {
  ReadOptions options;
  options.limits.burnpack_metadata_bytes = 10;
  CHECK(test::refusal(burnpack_format, sample(), options)->code() == ErrorCode::limit_exceeded);
  options = {};
  options.limits.tensors = 1;
  CHECK(test::refusal(burnpack_format, sample(), options)->code() == ErrorCode::limit_exceeded);
  options = {};
  options.limits.metadata_items = 10;
  CHECK(test::refusal(burnpack_format, sample(), options)->code() == ErrorCode::limit_exceeded);
  CHECK(test::refusal(burnpack_format, indefinite_sample(), options)->code() == ErrorCode::limit_exceeded);
  options = {};
  options.limits.tensors = 1;
  CHECK(test::refusal(burnpack_format, indefinite_sample(), options)->code() == ErrorCode::limit_exceeded);
  // Each chunk of a text is an item, and all together are one text.
  const std::string chunks =
      file(metadata({}, text("later") + indefinite(3, std::vector<std::string>(1000, text("ab"))), 1), "");
  CHECK_FALSE(test::refusal(burnpack_format, chunks));
  options = {};
  options.limits.metadata_items = 900;
  CHECK(test::refusal(burnpack_format, chunks, options)->code() == ErrorCode::limit_exceeded);
  options = {};
  options.limits.metadata_bytes = 1999;
  CHECK(test::refusal(burnpack_format, chunks, options)->code() == ErrorCode::limit_exceeded);
}

TEST_CASE("burnpack: refuses every prefix, and no flipped bit reads outside the file") {
  for (const std::string& bytes : {sample(), indefinite_sample()}) {
    CHECK(test::readable_prefixes(burnpack_format, bytes) == 0);
    test::flip_every_bit(burnpack_format, bytes, bytes.size() - 259);
  }
  const std::string plain =
      file(metadata({text("a"), tensor(text("U8"), {3}, 0, 3), text("b"), tensor(text("F32"), {2}, 3, 11)}),
           "abcdefghijk", false);
  CHECK(test::readable_prefixes(burnpack_format, plain) == 0);
  test::flip_every_bit(burnpack_format, plain, plain.size());
}

TEST_CASE("burnpack: Burn's files have the tensors, dtypes and shapes that their index states") {
  const auto folder = test::fixtures("burn");
  if (!folder) return;
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(*folder)) {
    if (entry.path().extension() != ".bpk") continue;
    ++files;
    const std::string bytes = test::content_of(entry.path());
    const Catalog catalog = read_bytes(burnpack_format, bytes);
    test::SoundCatalog(catalog, bytes.size()).check();
    CHECK_FALSE(catalog.tensors.empty());
  }
  if (files == 0) test::skip("the fixtures hold no .bpk");
}
