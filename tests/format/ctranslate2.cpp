#include <doctest/doctest.h>

#include <vector>

#include "format/formats.hpp"
#include "support/catalog_checks.hpp"
#include "support/fixtures.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/zip_builder.hpp"

using namespace heft;
using namespace heft::format;
using test::little;
using test::read_bytes;

namespace {

std::string text(std::string_view value) { return little(value.size() + 1, 2).append(value) + '\0'; }

struct Variable {
  std::string name;
  std::vector<std::uint32_t> dims;
  int type;            ///< From version 4 on a number, before that the bytes of an item.
  std::uint32_t size;  ///< From version 4 on bytes, before that items.
  std::string data;
};

std::string head(int version) {
  std::string file = little(static_cast<std::uint64_t>(version), 4);
  if (version >= 2) file += text("TransformerSpec") + little(7, 4);
  return file;
}

std::string variable(const Variable& one) {
  std::string bytes = text(one.name) + little(one.dims.size(), 1);
  for (const std::uint32_t dim : one.dims) bytes += little(dim, 4);
  return bytes + little(static_cast<std::uint64_t>(one.type), 1) + little(one.size, 4) + one.data;
}

std::string model(int version, const std::vector<Variable>& variables, const std::string& aliases = little(0, 4)) {
  std::string file = head(version) + little(variables.size(), 4);
  for (const Variable& one : variables) file += variable(one);
  return version >= 3 ? file + aliases : file;
}

/// Two variables that every version can hold.
std::string sample(int version) {
  const bool numbered = version >= 4;
  return model(version,
               {{"encoder/weight", {2, 3}, numbered ? 0 : 4, numbered ? 24u : 6u, std::string(24, 'w')},
                {"encoder/heads", {}, numbered ? 2 : 2, numbered ? 2u : 1u, "hh"}},
               little(1, 4) + text("decoder/weight") + text("encoder/weight"));
}

bool matches(const std::string& file) {
  return ctranslate2_format.matches({reinterpret_cast<const std::byte*>(file.data()), file.size()}, file.size());
}

const TensorEntry& tensor_of(const Catalog& catalog, std::string_view name) {
  for (const TensorEntry& tensor : catalog.tensors)
    if (tensor.name == name) return tensor;
  throw std::out_of_range(std::string(name));
}

}  // namespace

TEST_CASE("ctranslate2: recognizes every version and reads its variables") {
  for (int version = 1; version <= 6; ++version) {
    CAPTURE(version);
    const std::string file = sample(version);
    CHECK(matches(file));
    const Catalog catalog = read_bytes(ctranslate2_format, file);
    test::SoundCatalog(catalog, file.size()).check();
    CHECK(catalog.tensors.size() == (version >= 3 ? 3 : 2));
    const TensorEntry& weight = tensor_of(catalog, "encoder/weight");
    CHECK(weight.dtype == DType::f32);
    CHECK(weight.rank == 2);
    CHECK(catalog.sizes(weight)[1] == 3);
    CHECK(file.substr(weight.begin, weight.size) == std::string(24, 'w'));
    CHECK(tensor_of(catalog, "encoder/heads").dtype == DType::i16);
    CHECK(tensor_of(catalog, "encoder/heads").rank == 0);
    CHECK((catalog.metadata != none) == (version >= 2));
    CHECK(catalog.notes.empty());
    if (version < 3) continue;
    CHECK(tensor_of(catalog, "decoder/weight").begin == weight.begin);
    CHECK(tensor_of(catalog, "decoder/weight").size == weight.size);
  }
}

TEST_CASE("ctranslate2: types have their dtype, unknown ones their number") {
  const DType expected[] = {DType::f32, DType::i8, DType::i16, DType::i32, DType::f16, DType::bf16, DType::unknown};
  const std::uint32_t sizes[] = {4, 1, 2, 4, 2, 2, 9};
  for (int type = 0; type < 7; ++type) {
    CAPTURE(type);
    const std::uint32_t size = sizes[type];
    const Catalog catalog = read_bytes(ctranslate2_format, model(6, {{"v", {1}, type, size, std::string(size, 'x')}}));
    CHECK(catalog.tensors.at(0).dtype == expected[type]);
    if (type == 6) CHECK(catalog.type_names.at(catalog.tensors[0].type_name) == "ctranslate2 type 6");
  }
}

TEST_CASE("ctranslate2: hostile files are refused, each with its reason") {
  using enum ErrorCode;
  struct Hostile {
    const char* what;
    std::string bytes;
    ErrorCode code;
    const char* words;
  };
  const Variable good{"v", {2}, 0, 8, "12345678"};
  const Hostile table[] = {
      {"version 7", model(7, {good}), unsupported, "heft reads 1 to 6"},
      {"more variables than bytes", head(6) + little(0xFFFFFFFF, 4), corrupt, "bytes of variables"},
      {"more aliases than bytes", model(6, {good}, little(0xFFFFFFFF, 4)), corrupt, "bytes of aliases"},
      {"a name without its NUL", head(6) + little(1, 4) + little(20, 2) + std::string(20, 'n'), corrupt, "NUL"},
      {"a name with a NUL inside", model(6, {{std::string("a\0b", 3), {2}, 0, 8, "12345678"}}), corrupt, "NUL"},
      {"an empty name", model(6, {{"", {2}, 0, 8, "12345678"}}), corrupt, "NUL"},
      {"a name of no bytes", head(6) + little(1, 4) + little(0, 2) + std::string(20, '\0'), corrupt, "NUL"},
      {"rank 255", model(6, {{"v", std::vector<std::uint32_t>(255, 1), 0, 4, "1234"}}), limit_exceeded, "rank"},
      {"dims whose product wraps", model(6, {{"v", std::vector<std::uint32_t>(4, 0x80000000), 0, 0, ""}}), corrupt,
       "elements"},
      {"bytes that do not fit the shape", model(6, {{"v", {2}, 0, 4, "1234"}}), corrupt, "expected 8 bytes"},
      {"items of 8 bytes in version 3", model(3, {{"v", {1}, 8, 1, "12345678"}}), corrupt, "expected 1, 2 or 4"},
      {"data past the end", head(6) + little(1, 4) + variable({"v", {400}, 0, 1600, "1234"}), corrupt, "data"},
      {"a name twice", model(6, {good, good}), ambiguous, "'v'"},
      {"an alias that is a variable", model(6, {good}, little(1, 4) + text("v") + text("v")), ambiguous, "'v'"},
      {"an alias of nothing", model(6, {good}, little(1, 4) + text("w") + text("x")), corrupt, "alias of 'x'"},
  };
  for (const Hostile& one : table) {
    CAPTURE(std::string(one.what));
    const Error error = test::thrown_by([&] { return read_bytes(ctranslate2_format, one.bytes); });
    CHECK(name(error.code()) == name(one.code));
    CHECK_MESSAGE(std::string_view(error.what()).find(one.words) != std::string_view::npos, std::string(error.what()));
  }
}

TEST_CASE("ctranslate2: refuses every prefix, and no flipped bit reads outside the file") {
  for (const int version : {2, 3, 6}) {
    const std::string file = sample(version);
    CHECK(test::readable_prefixes(ctranslate2_format, file) == 0);
    test::flip_every_bit(ctranslate2_format, file, file.size());
  }
}

TEST_CASE("ctranslate2: does not match files that are not models") {
  CHECK_FALSE(matches(""));
  CHECK_FALSE(matches(std::string(64, '\0')));
  CHECK_FALSE(matches("\x06" + std::string(63, '\0')));
  CHECK_FALSE(matches(little(40, 8) + "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}"));
}

TEST_CASE("ctranslate2: OpenNMT's model opens with all its variables") {
  const auto folder = test::fixtures("OpenNMT+CTranslate2");
  if (!folder) return;
  const std::string file = test::content_of(*folder / "tests/data/models/v1/aren-transliteration-i16/model.bin");
  CHECK(matches(file));
  const Catalog catalog = read_bytes(ctranslate2_format, file);
  test::SoundCatalog(catalog, file.size()).check();
  CHECK(catalog.detail == "CTranslate2 v1");
  CHECK(catalog.tensors.size() == 200);
  CHECK(catalog.notes.empty());
  const TensorEntry& embeddings = tensor_of(catalog, "transformer/encoder/w_embs:0");
  CHECK(embeddings.dtype == DType::i16);
  CHECK(catalog.sizes(embeddings)[0] == 51);
  CHECK(catalog.sizes(embeddings)[1] == 32);
}
