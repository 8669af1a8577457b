#include "format/catalog.hpp"

#include <doctest/doctest.h>

#include "heft/error.hpp"

namespace heft {
namespace {

using format::Catalog;
using format::Node;
using format::NodeKind;
using format::TensorEntry;

TEST_CASE("catalog: returns sizes and strides of each tensor, and no strides of a packed one") {
  Catalog catalog(nullptr);
  TensorEntry packed;
  TensorEntry strided;
  TensorEntry scalar;
  catalog.set_dims(packed, std::vector<std::int64_t>{2, 3});
  catalog.set_dims(strided, std::vector<std::int64_t>{4, 5, 6}, std::vector<std::int64_t>{30, 0, 1});
  catalog.set_dims(scalar, {});
  const auto list = [](std::span<const std::int64_t> span) {
    return std::vector<std::int64_t>(span.begin(), span.end());
  };
  CHECK(list(catalog.sizes(packed)) == std::vector<std::int64_t>{2, 3});
  CHECK(catalog.strides(packed).empty());
  CHECK(list(catalog.sizes(strided)) == std::vector<std::int64_t>{4, 5, 6});
  CHECK(list(catalog.strides(strided)) == std::vector<std::int64_t>{30, 0, 1});
  CHECK((strided.flags & format::strided) != 0);
  CHECK(scalar.rank == 0);
  CHECK(catalog.sizes(scalar).empty());
}

TEST_CASE("catalog: refuses a rank over a byte, and strides for another rank") {
  Catalog catalog(nullptr);
  TensorEntry entry;
  CHECK_THROWS_AS(catalog.set_dims(entry, std::vector<std::int64_t>(256, 1)), Error);
  CHECK_THROWS_AS(catalog.set_dims(entry, std::vector<std::int64_t>{1, 2}, std::vector<std::int64_t>{1}), Error);
}

TEST_CASE("catalog: nodes nest by index, and a map counts pairs") {
  Catalog catalog(nullptr);
  const std::uint32_t key = catalog.add_text("key");
  const std::uint32_t value = catalog.add_integer(-7);
  const std::uint32_t pairs[] = {key, value};
  const Node& map = catalog.nodes.at(catalog.add_container(NodeKind::map, pairs));
  CHECK(map.count == 1);
  CHECK(catalog.nodes.at(catalog.children.at(map.first + 1)).integer == -7);
  const Node& list = catalog.nodes.at(catalog.add_container(NodeKind::list, pairs));
  CHECK(list.count == 2);
  CHECK(list.first == 2);
  const Node& text = catalog.nodes.at(key);
  CHECK(std::string_view(text.text, text.count) == "key");
}

TEST_CASE("catalog: entries of tables have the documented sizes") {
  CHECK(sizeof(TensorEntry) == 56);
  CHECK(sizeof(Node) == 16);
}

}  // namespace
}  // namespace heft
