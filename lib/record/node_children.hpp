// record/node_children.hpp: the children of a catalog's node and their keys in the record tree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "format/catalog.hpp"

namespace heft::record {

/// Returns true for the kinds that have children: lists, maps, opaque values.
[[nodiscard]] bool is_container(format::NodeKind kind) noexcept;
/// Returns the number of children: elements of a list, values of a map, arguments and state of an opaque value.
[[nodiscard]] std::uint32_t child_count(const format::Node& node) noexcept;
/// Returns the node number of child `position` < child_count(node).
[[nodiscard]] std::uint32_t child_node(const format::Catalog& catalog, const format::Node& node,
                                       std::size_t position) noexcept;
/// Returns its key: a map's key as Python prints it, the position in a list, "arguments" or "state".
[[nodiscard]] std::string child_key(const format::Catalog& catalog, const format::Node& node, std::size_t position);
/// Returns the key of pair `position` of a map if it is text or an integer of 64 bits: these can be looked up. Integers
/// are written into `digits`.
struct Digits {
  char text[24];
};
[[nodiscard]] std::optional<std::string_view> pair_key(const format::Catalog& catalog, const format::Node& map,
                                                       std::size_t position, Digits& digits) noexcept;

}  // namespace heft::record
