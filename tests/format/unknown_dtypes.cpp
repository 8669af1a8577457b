// A dtype that heft has no row for is listed by its own word. Its tensors pass the same checks at open as all others: a
// shape that fits, and bytes where there are elements.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "format/formats.hpp"
#include "support/catalog_checks.hpp"
#include "support/cbor_builder.hpp"
#include "support/gguf_builder.hpp"
#include "support/pack_builder.hpp"
#include "support/thrown.hpp"
#include "support/zip_builder.hpp"

using namespace heft;
using namespace heft::format;
using test::little;
using test::read_bytes;

namespace {

using Sizes = std::vector<std::uint64_t>;

std::string gguf(const Sizes& dims, const std::string& data) {
  test::GgufBuilder file;
  file.tensor("t", dims, 4000, data);
  return file.build();
}

std::string burnpack(const Sizes& dims, const std::string& data) {
  using namespace test::cbor;
  std::vector<std::string> shape;
  for (const std::uint64_t dim : dims) shape.push_back(natural(dim));
  const std::string tensor = map({text("dtype"), text("Q9"), text("shape"), list(shape), text("data_offsets"),
                                  list({natural(0), natural(data.size())})});
  const std::string metadata = map({text("tensors"), map({text("t"), tensor})});
  std::string file = "NRUB" + little(1, 2) + little(metadata.size(), 4) + metadata;
  file.resize((file.size() + 255) / 256 * 256);
  return file + data;
}

std::string flax(const Sizes& dims, const std::string& data) {
  using namespace test::pack;
  return map({text("t"), extension(1, list({shape(dims), text("float9"), bytes(data)}))});
}

std::string ctranslate2(const Sizes& dims, const std::string& data) {
  const auto text = [](const std::string& word) { return little(word.size() + 1, 2) + word + '\0'; };
  std::string file = little(6, 4) + text("Spec") + little(1, 4) + little(1, 4) + text("t") + little(dims.size(), 1);
  for (const std::uint64_t dim : dims) file += little(dim, 4);
  return file + little(99, 1) + little(data.size(), 4) + data + little(0, 4);
}

struct Maker {
  const Format& format;
  std::string (*make)(const Sizes&, const std::string&);
};

const Maker makers[] = {{gguf_format, gguf},
                        {burnpack_format, burnpack},
                        {flax_format, flax},
                        {ctranslate2_format, ctranslate2}};

}  // namespace

TEST_CASE("unknown dtypes: a tensor with bytes is listed, and one without elements and bytes") {
  for (const Maker& maker : makers) {
    CAPTURE(maker.format.name);
    for (const auto& [dims, data] :
         {std::pair{Sizes{2, 3}, std::string(64, 'x')}, std::pair{Sizes{2, 0}, std::string()}}) {
      const std::string file = maker.make(dims, data);
      const Catalog catalog = read_bytes(maker.format, file);
      test::SoundCatalog(catalog, file.size()).check();
      CHECK(catalog.tensors.at(0).dtype == DType::unknown);
      CHECK(catalog.tensors[0].size == data.size());
    }
  }
}

TEST_CASE(
    "unknown dtypes: elements without a byte, and bytes without an element, are corrupt, with tensor and offset") {
  for (const Maker& maker : makers) {
    CAPTURE(maker.format.name);
    for (const auto& [dims, data] : {std::pair{Sizes{4}, std::string()}, std::pair{Sizes{0}, std::string(32, 'x')}}) {
      // Nothing in GGUF counts the bytes of such a tensor: those behind one without elements are the file's.
      if (maker.make == gguf && !data.empty()) continue;
      const std::string file = maker.make(dims, data);
      const Error error = test::thrown_by([&] { static_cast<void>(read_bytes(maker.format, file)); });
      CHECK(error.code() == ErrorCode::corrupt);
      CHECK(error.tensor() == "t");
      CHECK(error.offset().has_value());
    }
  }
}

TEST_CASE("unknown dtypes: dims whose product does not fit are corrupt, with tensor and offset, whatever dim is 0") {
  constexpr std::uint64_t big = 0xFFFFFFFF;
  for (const Maker& maker : makers) {
    CAPTURE(maker.format.name);
    for (const Sizes& dims : {Sizes{big, big, big}, Sizes{0, big, big, big}, Sizes{big, big, big, 0}}) {
      const std::string file = maker.make(dims, std::string(64, 'x'));
      const Error error = test::thrown_by([&] { static_cast<void>(read_bytes(maker.format, file)); });
      CHECK(error.code() == ErrorCode::corrupt);
      CHECK(error.tensor() == "t");
      CHECK(error.offset().has_value());
    }
  }
}
