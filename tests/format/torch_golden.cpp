// Files that PyTorch 2.13 wrote (tests/torch/make_fixtures.py), against what PyTorch found in them.
#include <doctest/doctest.h>

#include <set>
#include <string>
#include <string_view>

#include "heft/error.hpp"
#include "support/fixtures.hpp"
#include "torch_reading.hpp"

using namespace heft;
using namespace heft::test;

namespace {

std::string hex(std::string_view bytes) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += digits[static_cast<unsigned char>(c) >> 4];
    out += digits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

void flip_sign(std::string& elements, std::size_t begin, std::size_t step) {
  for (std::size_t at = begin; at < elements.size(); at += step)
    elements[at] = static_cast<char>(elements[at] ^ '\x80');
}

/// Applies the lazy bits of PyTorch to the elements, for f32 and c64: the values that a user of PyTorch sees.
void resolve(const format::TensorEntry& tensor, std::string& elements) {
  if (tensor.flags & format::negated) flip_sign(elements, 3, 4);
  if (tensor.flags & format::conjugated) flip_sign(elements, 7, 8);
}

void check_tensor(const format::Catalog& catalog, const std::string& file, const std::string& name,
                  const JsonTree& expected) {
  INFO(name);
  const format::TensorEntry& tensor = tensor_of(catalog, name);
  CHECK(heft::name(tensor.dtype) == expected["dtype"].text);
  const auto sizes = catalog.sizes(tensor);
  REQUIRE(sizes.size() == expected["shape"].elements.size());
  for (std::size_t i = 0; i < sizes.size(); ++i)
    CHECK(static_cast<double>(sizes[i]) == expected["shape"].elements[i].number);
  CHECK(((tensor.flags & format::no_data) == 0) == expected.has("bytes"));
  if (!expected.has("bytes")) return;
  std::string elements = elements_of(catalog, tensor, file);
  resolve(tensor, elements);
  CHECK(hex(elements) == expected["bytes"].text);
}

std::filesystem::path golden() { return source_root() / "tests" / "torch" / "golden"; }

}  // namespace

TEST_CASE("torch golden: every file of PyTorch 2.13 holds what PyTorch found in it, and nothing else") {
  const JsonTree expected = read_json(golden() / "expected.json");
  CHECK(expected["torch"].text.starts_with("2.13"));
  std::size_t tensors = 0;
  for (const auto& [name, facts] : expected["files"].members) {
    INFO(name);
    const std::string file = read_file(golden() / name);
    const format::Catalog catalog = open_bytes(file);
    CHECK(catalog.tensors.size() == facts.members.size());
    for (const auto& [tensor, fact] : facts.members) check_tensor(catalog, file, tensor, fact);
    tensors += facts.members.size();
  }
  CHECK(tensors > 140);
}

TEST_CASE("torch golden: refuses every prefix, and refuses or reads a file with a flipped bit") {
  for (const char* name : {"tensor.pt", "lazy_bits.pt", "sparse.pt", "views.legacy.pt"}) {
    INFO(std::string(name));
    const std::string file = read_file(golden() / name);
    for (std::size_t size = 0; size < file.size(); ++size) CHECK_THROWS_AS(open_bytes(file.substr(0, size)), Error);
    for (std::size_t bit = 0; bit < file.size() * 8; ++bit) {
      std::string flipped = file;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
      try {
        static_cast<void>(open_bytes(flipped));  // checks that it is sound
      } catch (const Error& error) {
        CHECK(!error.message().empty());
      }
    }
  }
}

TEST_CASE("torch golden: shared storages stay shared") {
  const std::string file = read_file(golden() / "nested.protocol2.pt");
  const format::Catalog catalog = open_bytes(file);
  const format::TensorEntry& weight = tensor_of(catalog, "model.a.weight");
  for (const char* other : {"model.b.weight", "shared.0", "shared.1"}) {
    CHECK(tensor_of(catalog, other).begin == weight.begin);
    CHECK(tensor_of(catalog, other).size == weight.size);
  }
}

TEST_CASE("torch golden: attributes of a tensor's Python object are left out, and noted") {
  const format::Catalog catalog = open_bytes(read_file(golden() / "subclass.pt"));
  REQUIRE(catalog.notes.size() == 1);
  CHECK(catalog.notes[0].find("'tagged'") != std::string::npos);
  CHECK(open_bytes(read_file(golden() / "training.pt")).notes.empty());
}

TEST_CASE("torch golden: values beside tensors keep their types") {
  const std::string file = read_file(golden() / "nested.protocol4.pt");
  const format::Catalog catalog = open_bytes(file);
  REQUIRE(value_of(catalog, "epoch") != nullptr);
  CHECK(value_of(catalog, "epoch")->integer == 3);
  REQUIRE(value_of(catalog, "big") != nullptr);
  CHECK(value_of(catalog, "big")->count == 11);  // 2^80 in two's complement
  CHECK(value_of(catalog, "bytes")->kind == format::NodeKind::bytes);
  CHECK(value_of(catalog, "optimizer.param_groups")->kind == format::NodeKind::list);
  const format::Catalog arrays = open_bytes(read_file(golden() / "numpy.protocol4.pt"));
  CHECK(value_of(arrays, "scalar")->real == 2.5);
}

TEST_CASE("torch golden: every file passes strict_globals, but those of whole modules and of classes of the user") {
  const JsonTree expected = read_json(golden() / "expected.json");
  const std::set<std::string> unknown{"module.pt", "module.legacy.pt", "transient_buffer.pt", "subclass.pt"};
  for (const auto& [name, facts] : expected["files"].members) {
    INFO(name);
    const std::string file = read_file(golden() / name);
    if (unknown.contains(name))
      CHECK_THROWS_WITH(static_cast<void>(open_bytes(file, {.torch = {.strict_globals = true}})),
                        doctest::Contains("strict_globals refuses"));
    else
      CHECK_NOTHROW(static_cast<void>(open_bytes(file, {.torch = {.strict_globals = true}})));
  }
}
