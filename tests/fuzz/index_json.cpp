// Any bytes as the index of a sharded checkpoint: an Error, or a map whose names and shards can be read.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "core/input.hpp"
#include "format/formats.hpp"
#include "heft/error.hpp"
#include "support/catalog_checks.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

std::uint64_t sum_of(std::string_view text) {
  std::uint64_t sum = 0;
  for (const char c : text) sum += static_cast<unsigned char>(c);
  return sum;
}

void check(const heft::format::Catalog& catalog) {
  std::uint64_t sum = 0;
  for (const auto& located : catalog.located) sum += sum_of(located.name) + sum_of(catalog.shards.at(located.shard));
  for (const auto& node : catalog.nodes) {
    if (node.kind == heft::format::NodeKind::text) sum += sum_of({node.text, node.count});
    if (node.kind == heft::format::NodeKind::list) require(node.first + node.count <= catalog.children.size());
    if (node.kind == heft::format::NodeKind::map)
      require(node.first + 2 * std::uint64_t{node.count} <= catalog.children.size());
  }
  [[maybe_unused]] static volatile std::uint64_t sink;
  sink = sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  static_cast<void>(
      heft::format::index_json_format.matches(bytes.first(std::min(size, heft::format::head_bytes)), size));
  try {
    check(heft::format::index_json_format.read(heft::core::MemoryInput(heft::Bytes(bytes, nullptr)), {}));
  } catch (const heft::Error& error) {
    heft::test::check_words(error);
    require(!error.offset() || *error.offset() <= size);
  }
  return 0;
}
