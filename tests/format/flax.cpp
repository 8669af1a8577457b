#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "format/formats.hpp"
#include "format/reading.hpp"
#include "support/catalog_checks.hpp"
#include "support/pack_builder.hpp"

using namespace heft;
using namespace heft::format;
using namespace heft::test::pack;
using test::read_bytes;

namespace {

std::string array(const std::vector<std::uint64_t>& dims, const std::string& dtype, const std::string& payload,
                  int type = 1) {
  return extension(type, list({shape(dims), text(dtype), bytes(payload)}));
}

std::string chunked(const std::vector<std::string>& dims, const std::vector<std::string>& chunks) {
  std::vector<std::string> shape_items, chunk_items;
  for (std::size_t i = 0; i < dims.size(); ++i)
    shape_items.insert(shape_items.end(), {text(std::to_string(i)), dims[i]});
  for (std::size_t i = 0; i < chunks.size(); ++i)
    chunk_items.insert(chunk_items.end(), {text(std::to_string(i)), chunks[i]});
  return map({text("__msgpack_chunked_array__"), boolean(true), text("shape"), map(shape_items), text("chunks"),
              map(chunk_items)});
}

std::string sample() {
  return map({text("params"),
              map({text("dense"),
                   map({text("kernel"), array({2, 3}, "float32", std::string(24, 'k')), text("bias"),
                        array({3}, "bfloat16", std::string(6, 'b'))}),
                   text("embed"),
                   chunked({natural(3), natural(2)},
                           {array({4}, "float16", std::string(8, 'c')), array({2}, "float16", std::string(4, 'd'))})}),
              text("step"), array({}, "int32", std::string(4, 's'), 3), text("z"),
              extension(2, list({real64(1), real64(-2)})), text("lr"), real64(0.5), text("name"), text("x")});
}

const TensorEntry& named(const Catalog& catalog, std::string_view name) {
  const auto found = std::ranges::find(catalog.tensors, name, &TensorEntry::name);
  REQUIRE_MESSAGE(found != catalog.tensors.end(), std::string(name));
  return *found;
}

}  // namespace

TEST_CASE("flax: arrays, scalars, complex numbers and other values are read") {
  const std::string file = sample();
  const Catalog catalog = read_bytes(flax_format, file);
  test::SoundCatalog(catalog, file.size()).check();
  REQUIRE(catalog.tensors.size() == 3);
  const TensorEntry& kernel = named(catalog, "params.dense.kernel");
  CHECK(file.substr(kernel.begin, kernel.size) == std::string(24, 'k'));
  CHECK(kernel.dtype == DType::f32);
  CHECK(named(catalog, "params.dense.bias").dtype == DType::bf16);
  CHECK(named(catalog, "step").rank == 0);
  REQUIRE(catalog.values.size() == 3);
  CHECK(catalog.values[0].name == "z");
  CHECK(catalog.detail_of(catalog.nodes[catalog.values[0].node]) == "complex");
}

TEST_CASE("flax: an array in chunks is one tensor of its parts") {
  const std::string file = sample();
  const Catalog catalog = read_bytes(flax_format, file);
  REQUIRE(catalog.joined.size() == 1);
  const Joined& joined = catalog.joined[0];
  CHECK(joined.whole.name == "params.embed");
  CHECK(catalog.sizes(joined.whole)[0] == 3);
  REQUIRE(joined.part_count == 2);
  CHECK(file.substr(catalog.parts[1].begin, catalog.parts[1].size) == "dddd");
}

TEST_CASE("flax: unknown dtypes keep their name") {
  const Catalog catalog =
      read_bytes(flax_format, map({text("a"), array({2}, "int4", "xy"), text("b"), array({1}, "float8_e4m3fn", "x")}));
  CHECK(catalog.type_names.at(named(catalog, "a").type_name) == "int4");
  CHECK(named(catalog, "b").dtype == DType::f8_e4m3);
}

TEST_CASE("flax: hostile files are refused, each with its reason") {
  using enum ErrorCode;
  const auto with = [](const std::string& value) { return map({text("t"), value}); };
  const std::string good = array({1}, "uint8", "x");
  std::string deep = good;
  for (int i = 0; i < 100; ++i) deep = map({text("a"), deep});
  const test::Hostile table[] = {
      {"no array", map({text("a"), natural(1)}), unsupported, "without an array"},
      {"bytes after the document", with(good) + natural(1), corrupt, "nothing after"},
      {"100 maps in each other", deep, limit_exceeded, "metadata_depth"},
      {"a key twice", map({text("t"), good, text("t"), good}), ambiguous, "'t'"},
      {"an array of two parts", with(extension(1, list({shape({1}), text("uint8")}))), corrupt,
       "shape, dtype and bytes"},
      {"an extension longer than its array", with(extension(1, list({shape({1}), text("uint8"), bytes("x")}) + "yy")),
       corrupt, "found contents of"},
      {"an array longer than its extension",
       with(extension(1, list({shape({1}), text("uint8"), bytes("x")}).substr(0, 12)) + "x"), corrupt, ""},
      {"bytes that do not fit the shape", with(array({2}, "float32", "1234")), corrupt, "expected 8 bytes"},
      {"dims whose product wraps", with(array({std::uint64_t{1} << 32, std::uint64_t{1} << 32}, "uint8", "")), corrupt,
       "number of elements"},
      {"a dtype that is a number", with(extension(1, list({shape({1}), natural(1), bytes("x")}))), corrupt, "dtype"},
      {"a complex number of three parts",
       map({text("a"), good, text("t"), extension(2, list({real64(1), real64(1), real64(1)}))}), corrupt, "two parts"},
      {"a complex number of integers", map({text("a"), good, text("t"), extension(2, list({natural(1), natural(1)}))}),
       corrupt, "a real number"},
      {"chunks of other dtypes", with(chunked({natural(2)}, {array({1}, "uint8", "x"), array({1}, "int8", "x")})),
       corrupt, "one known dtype"},
      {"chunks of rank 2", with(chunked({natural(1)}, {array({1, 1}, "uint8", "x")})), corrupt, "rank 1"},
      {"chunks of too few elements", with(chunked({natural(3)}, {array({1}, "uint8", "x"), array({1}, "uint8", "x")})),
       corrupt, "expected 3 elements"},
      {"a negative dim of chunks", with(chunked({integer(-1)}, {good})), corrupt, "0 or more"},
      {"a dim of chunks that is a text", with(chunked({text("1")}, {good})), corrupt, "in order"},
      {"dims of chunks whose product wraps", with(chunked({natural(std::uint64_t{1} << 62), natural(4)}, {good})),
       corrupt, "number of elements"},
      {"chunks without a shape",
       with(map({text("__msgpack_chunked_array__"), boolean(true), text("chunks"), map({text("0"), good})})), corrupt,
       "shape and chunks"},
      {"chunks in another order",
       with(map({text("__msgpack_chunked_array__"), boolean(true), text("shape"), map({text("0"), natural(2)}),
                 text("chunks"), map({text("1"), good, text("0"), good})})),
       corrupt, "expected chunk 0"},
  };
  test::check_refusals(flax_format, table);
}

TEST_CASE("flax: refuses every prefix, and no flipped bit reads outside the file") {
  const std::string file = sample();
  CHECK(test::readable_prefixes(flax_format, file) == 0);
  test::flip_every_bit(flax_format, file, file.size());
}

TEST_CASE("flax: matches only maps with a text as their first key") {
  const auto matches = [](std::string_view file) {
    return flax_format.matches(std::as_bytes(std::span(file)), file.size());
  };
  CHECK(matches(sample()));
  CHECK(matches("\xDE" + test::cbor::big(1, 2) + text("a") + natural(1)));
  CHECK(matches("\xDF" + test::cbor::big(1, 4) + text("a") + natural(1)));
  CHECK_FALSE(matches(""));
  CHECK_FALSE(matches("\x80"));
  CHECK_FALSE(matches("\x80\x02}q"));  // a pickle
  CHECK_FALSE(matches(map({natural(1), natural(1)})));
  CHECK_FALSE(matches(map({text("\x01"), natural(1)})));
}
