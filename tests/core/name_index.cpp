#include "core/name_index.hpp"
#include "core/name_hash.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

using heft::core::NameHash;
using heft::core::NameIndex;

TEST_CASE("name index: every name is found at its place, and no other") {
  for (const std::size_t count : {0u, 1u, 2u, 3u, 7u, 8u, 1000u, 70000u}) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < count; ++i) names.push_back("model.layers." + std::to_string(i) + ".weight");
    const NameHash hash;
    NameIndex index(count);
    const auto is = [&](std::string_view name) {
      return [&, name](std::uint32_t position) { return names[position] == name; };
    };
    for (std::uint32_t i = 0; i < count; ++i) REQUIRE(index.insert(hash(names[i]), i, is(names[i])) == NameIndex::none);
    for (std::uint32_t i = 0; i < count; ++i) REQUIRE(index.find(hash(names[i]), is(names[i])) == i);
    CHECK(index.find(hash("model"), is("model")) == NameIndex::none);
    if (count > 0) CHECK(index.insert(hash(names[0]), 0, is(names[0])) == 0);
  }
}

TEST_CASE("name index: an empty index finds nothing") {
  CHECK(NameIndex().find(17, [](std::uint32_t) { return true; }) == NameIndex::none);
}

TEST_CASE("name index: names whose hashes collide are distinguished") {
  const std::vector<std::string> names{"a", "b", "c", "d", "e"};
  NameIndex index(names.size());
  for (std::uint32_t i = 0; i < names.size(); ++i)
    index.insert(42, i, [&](std::uint32_t position) { return names[position] == names[i]; });
  for (std::uint32_t i = 0; i < names.size(); ++i)
    CHECK(index.find(42, [&](std::uint32_t position) { return names[position] == names[i]; }) == i);
}

TEST_CASE("name hash: depends on text, length and salt") {
  const NameHash hash;
  std::set<std::uint64_t> seen;
  std::string text;
  for (int i = 0; i < 100; ++i, text += '\0') seen.insert(hash(text));
  for (std::uint64_t salt = 1; salt < 100; ++salt) seen.insert(hash("x", salt));
  CHECK(seen.size() == 199);
  CHECK(hash("x") == NameHash()("x"));
}
