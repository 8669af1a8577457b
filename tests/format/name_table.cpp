#include "format/name_table.hpp"

#include <string>

#include <doctest/doctest.h>

namespace heft {
namespace {

TEST_CASE("name table: numbers names in the order of insertion") {
  format::NameTable table;
  CHECK(table.add("a").fresh);
  CHECK(table.add("").fresh);
  const auto again = table.add("a");
  CHECK_FALSE(again.fresh);
  CHECK(again.index == 0);
  CHECK(table.find("") == 1);
  CHECK_FALSE(table.find("b"));
}

TEST_CASE("name table: distinguishes names of every length that differ in one byte") {
  std::vector<std::string> names;
  for (std::size_t length = 0; length < 70; ++length)
    for (std::size_t at = 0; at < length; ++at) {
      names.emplace_back(length, '\0');
      names.back()[at] = 'x';
    }
  for (std::size_t length = 0; length < 70; ++length) names.emplace_back(length, '\0');
  format::NameTable table;
  for (const std::string& name : names) CHECK(table.add(name).fresh);
  for (std::size_t i = 0; i < names.size(); ++i) CHECK(table.find(names[i]) == i);
  CHECK(table.names().size() == names.size());
}

}  // namespace
}  // namespace heft
