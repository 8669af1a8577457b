#include "format/cbor/nodes.hpp"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "format/stored_numbers.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t min_numbers = 32;  // of a list that is not made of nodes

class NodeMaker {
 public:
  NodeMaker(CborReader& reader, Catalog& catalog, const Limits& limits) noexcept
      : reader_(reader), catalog_(catalog), limits_(limits) {}

  std::uint32_t make(const CborItem& item, std::uint64_t depth) {
    switch (item.kind) {
      case CborKind::null: return catalog_.add_node({});
      case CborKind::boolean: return catalog_.add_node({.kind = NodeKind::boolean, .unsigned_integer = item.number});
      case CborKind::unsigned_integer: return unsigned_integer(item.number);
      case CborKind::negative: return negative(item);
      case CborKind::real: return catalog_.add_node({.kind = NodeKind::real, .real = item.real});
      case CborKind::text: return catalog_.add_text(item.text);
      case CborKind::bytes: return bytes(item);
      case CborKind::list:
      case CborKind::map: break;
    }
    return container(item, depth);
  }

 private:
  std::uint32_t unsigned_integer(std::uint64_t value) {
    return catalog_.add_node(
        {.kind = value > INT64_MAX ? NodeKind::unsigned_integer : NodeKind::integer, .unsigned_integer = value});
  }

  // CBOR's negative integers reach -2^64, below those of 64 bits.
  std::uint32_t negative(const CborItem& item) {
    if (item.number <= INT64_MAX) return catalog_.add_integer(-1 - static_cast<std::int64_t>(item.number));
    throw Error(ErrorCode::unsupported, fmt::format("expected integers of 64 bits, found -1 - {}", item.number),
                {.offset = item.offset});
  }

  std::uint32_t bytes(const CborItem& item) {
    // Both kinds point into the reader's bytes; only the kind differs.
    const std::uint32_t node = catalog_.add_text(item.text);
    catalog_.nodes[node].kind = NodeKind::bytes;
    return node;
  }

  std::uint32_t container(const CborItem& item, std::uint64_t depth) {
    // Before the recursion: the file determines the nesting.
    core::require_limit(depth, limits_.metadata_depth, "the nesting of CBOR", "metadata_depth", item.offset);
    if (item.kind == CborKind::list)
      if (std::optional<SegmentedNumbers> numbers = reader_.step_numbers(item, min_numbers))
        return list_of(*std::move(numbers));
    // Not reserved by the declared count: each byte of the file could then claim four of memory.
    std::vector<std::uint32_t> items;
    for (std::uint64_t i = 0; !reader_.ends(item, i); ++i) {
      if (item.kind == CborKind::map) items.push_back(key());
      items.push_back(make(reader_.next("an item"), depth + 1));
    }
    return catalog_.add_container(item.kind == CborKind::map ? NodeKind::map : NodeKind::list, items);
  }

  // Makes a list whose elements are read when they are looked at.
  std::uint32_t list_of(SegmentedNumbers numbers) {
    if (!number_bytes_) number_bytes_ = number_bytes(catalog_, reader_.input());
    const std::uint64_t count = numbers.size();
    auto elements = std::make_shared<const StoredNumbers>(std::make_shared<const SegmentedNumbers>(std::move(numbers)),
                                                          0, number_bytes_);
    return catalog_.add_node(catalog_.add_packed(std::move(elements), count));
  }

  std::uint32_t key() {
    const CborItem key = reader_.next("a key");
    // Keys of maps become names of the record tree, so other keys cannot be represented.
    if (key.kind == CborKind::text) return catalog_.add_text(key.text);
    throw Error(ErrorCode::unsupported, fmt::format("expected keys that are texts, found {}", name(key.kind)),
                {.offset = key.offset});
  }

  CborReader& reader_;
  Catalog& catalog_;
  const Limits& limits_;
  std::shared_ptr<const NumberBytes> number_bytes_;
};

}  // namespace

std::uint32_t add_nodes(CborReader& reader, const CborItem& item, Catalog& catalog, const Limits& limits) {
  return NodeMaker(reader, catalog, limits).make(item, 1);
}

}  // namespace heft::format
