#include "record/node_children.hpp"

#include <charconv>
#include <iterator>

#include <fmt/format.h>

namespace heft::record {
namespace {

using format::Catalog;
using format::NodeKind;

// Keys of an opaque node's children behind its name: those of the call that made the object, and its state.
constexpr std::string_view opaque_keys[] = {"arguments", "state"};

// Returns the key of a pair: a map's children are key, value, key, value.
const format::Node& key_node(const Catalog& catalog, const format::Node& map, std::size_t position) noexcept {
  return catalog.nodes[catalog.children[map.first + 2 * position]];
}

// Returns the key of a pickled dict, which can be any value, as text like Python's.
std::string key_text(const format::Node& key) {
  switch (key.kind) {
    case NodeKind::text: return std::string(key.text, key.count);
    case NodeKind::integer: return key.count == 0 ? fmt::to_string(key.integer) : "<big integer>";
    case NodeKind::unsigned_integer: return fmt::to_string(key.unsigned_integer);
    case NodeKind::boolean: return key.integer != 0 ? "True" : "False";
    case NodeKind::real: return fmt::format("{}", key.real);
    case NodeKind::null: return "None";
    case NodeKind::bytes: return "<bytes>";
    case NodeKind::list: return "<list>";
    case NodeKind::map: return "<map>";
    case NodeKind::tensor: return "<tensor>";
    case NodeKind::opaque: return "<opaque>";
  }
  return {};
}

}  // namespace

bool is_container(NodeKind kind) noexcept {
  return kind == NodeKind::list || kind == NodeKind::map || kind == NodeKind::opaque;
}

std::uint32_t child_count(const format::Node& node) noexcept {
  // The first child is the name of the class, which is not shown as a child.
  if (node.kind == NodeKind::opaque) return node.count > 1 ? node.count - 1 : 0;
  return is_container(node.kind) ? node.count : 0;
}

// Children of a map are the values of its pairs; those of an opaque node follow its name.
std::uint32_t child_node(const Catalog& catalog, const format::Node& node, std::size_t position) noexcept {
  // In 64 bits: a map of 2^31 pairs has more children than 32 bits count.
  const std::uint64_t step = node.kind == NodeKind::map      ? 2 * position + 1
                             : node.kind == NodeKind::opaque ? position + 1
                                                             : position;
  return catalog.child(node, step);
}

std::string child_key(const Catalog& catalog, const format::Node& node, std::size_t position) {
  if (node.kind == NodeKind::map) return key_text(key_node(catalog, node, position));
  if (node.kind == NodeKind::opaque && position < std::size(opaque_keys)) return std::string(opaque_keys[position]);
  return fmt::to_string(position);
}

std::optional<std::string_view> pair_key(const Catalog& catalog, const format::Node& map, std::size_t position,
                                         Digits& digits) noexcept {
  const format::Node& key = key_node(catalog, map, position);
  if (key.kind == NodeKind::text) return std::string_view(key.text, key.count);
  // count is not 0 for an integer over 64 bits, whose bytes are elsewhere.
  if (key.kind != NodeKind::integer || key.count != 0) return {};
  char* const end = std::to_chars(digits.text, digits.text + sizeof digits.text, key.integer).ptr;
  return std::string_view(digits.text, static_cast<std::size_t>(end - digits.text));
}

}  // namespace heft::record
