#include "record/tree.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "record/list_number.hpp"
#include "record/node_children.hpp"
#include "record/state.hpp"

namespace heft::record {
namespace {

using format::NodeKind;

// Returns the kind that callers see; the two kinds of integers are one to them.
RecordKind record_kind(NodeKind kind) noexcept {
  switch (kind) {
    case NodeKind::null: return RecordKind::null;
    case NodeKind::boolean: return RecordKind::boolean;
    case NodeKind::integer:
    case NodeKind::unsigned_integer: return RecordKind::integer;
    case NodeKind::real: return RecordKind::real;
    case NodeKind::text: return RecordKind::text;
    case NodeKind::bytes: return RecordKind::bytes;
    case NodeKind::list: return RecordKind::list;
    case NodeKind::map: return RecordKind::map;
    case NodeKind::tensor: return RecordKind::tensor;
    case NodeKind::opaque: return RecordKind::opaque;
  }
  return RecordKind::null;
}

// Returns the index that a list's key spells, if it is below `count`.
std::optional<std::size_t> position_of(std::string_view key, std::size_t count) noexcept {
  const auto number = list_number(key);
  return number && *number < count ? std::optional<std::size_t>(*number) : std::nullopt;
}

}  // namespace

std::optional<std::uint32_t> Tree::leaf_of(NodeId id) const noexcept {
  if ((id & in_value) != 0) return {};
  const Node& node = nodes_[id & ~own_leaf];
  // A node with a leaf and children is a container, whose leaf is a child of its own (own_leaf).
  if (node.leaf == format::none || ((id & own_leaf) == 0 && node.count != 0)) return {};
  return node.leaf;
}

Tree::InValue Tree::resolve(NodeId id) const noexcept {
  if ((id & in_value) != 0) {
    // The low 32 bits are the number of the node in the catalog.
    const auto value = static_cast<std::uint32_t>((id & ~in_value) >> 32);
    return {&state_.catalog(values_[value].shard), value, static_cast<std::uint32_t>(id)};
  }
  const auto leaf = leaf_of(id);
  // A container of the trie, or a tensor.
  if (!leaf || (*leaf & value_leaf) == 0) return {};
  const std::uint32_t value = *leaf & ~value_leaf;
  return {&state_.catalog(values_[value].shard), value, values_[value].node};
}

std::optional<format::Node> Tree::value(NodeId id) const {
  const InValue at = resolve(id);
  return at.catalog == nullptr ? std::nullopt : std::optional(at.get());
}

std::optional<Tree::Place> Tree::place(NodeId id) const {
  const InValue at = resolve(id);
  if (at.catalog == nullptr) return std::nullopt;
  const std::uint32_t shard = values_[at.value].shard;
  const Shard& file = shard == State::of_params ? *state_.params : *state_.shards[shard];
  return Place{at.catalog, file.source};
}

std::string_view Tree::class_name(NodeId id) const noexcept {
  const InValue at = resolve(id);
  if (at.catalog == nullptr || at.container().count == 0) return {};
  const format::Node& name = at.catalog->nodes[at.catalog->child(at.container(), 0)];
  return name.kind == NodeKind::text ? std::string_view(name.text, name.count) : std::string_view();
}

format::Node Tree::node_or_null(InValue at) noexcept {
  try {
    return at.get();
  } catch (...) {
    // kind() cannot throw; value() fails in the same way, and does.
    return {};
  }
}

RecordKind Tree::kind(NodeId id) const noexcept {
  if (const InValue at = resolve(id); at.catalog != nullptr) return record_kind(node_or_null(at).kind);
  // resolve() has found values, so a leaf is a tensor.
  if (leaf_of(id)) return RecordKind::tensor;
  return nodes_[id].is_list != 0 ? RecordKind::list : RecordKind::map;
}

std::string_view Tree::detail(NodeId id) const noexcept {
  const InValue at = resolve(id);
  return at.catalog == nullptr ? std::string_view() : at.catalog->detail_of(node_or_null(at));
}

std::string Tree::path(NodeId id) const {
  // A node of the trie has its path in the flat name of its first entry.
  if ((id & in_value) == 0) return std::string(nodes_[id & ~own_leaf].path());
  const InValue at = resolve(id);
  std::string path(values_[at.value].name);
  path += node_paths_.between(values_[at.value], at.node);
  // A file of one value, which has no name, starts its paths without a dot.
  return path.starts_with('.') && values_[at.value].name.empty() ? path.substr(1) : path;
}

std::size_t Tree::count(NodeId id) const noexcept {
  if (const InValue at = resolve(id); at.catalog != nullptr) return child_count(at.container());
  if (leaf_of(id)) return 0;
  const Node& node = nodes_[id];
  // The node's own leaf counts as its last child, with an empty key.
  return node.count + (node.leaf != format::none ? std::size_t{1} : 0);
}

Tree::NodeId Tree::child(NodeId id, std::size_t position) const noexcept {
  if (const InValue at = resolve(id); at.catalog != nullptr)
    return at.id_of(child_node(*at.catalog, at.container(), position));
  const Node& node = nodes_[id];
  return position == node.count ? own_leaf | id : children_[node.first + position];
}

std::string Tree::key(NodeId id, std::size_t position) const {
  if (const InValue at = resolve(id); at.catalog != nullptr) return child_key(*at.catalog, at.container(), position);
  const Node& node = nodes_[id];
  return position == node.count ? std::string() : std::string(nodes_[children_[node.first + position]].key());
}

std::uint32_t Tree::find_child(std::uint32_t parent, std::string_view key) const noexcept {
  // One table for all nodes: the parent is the salt, so equal keys under different parents have different hashes.
  return index_.find(state_.hash(key, parent),
                     [&](std::uint32_t node) { return nodes_[node].parent == parent && nodes_[node].key() == key; });
}

std::optional<std::size_t> Tree::find_in(InValue at, std::string_view key) const noexcept {
  const format::Node node = at.container();
  if (node.kind == NodeKind::map) return map_indexes_.find(*at.catalog, at.node, key);
  if (node.kind == NodeKind::list) return position_of(key, node.count);
  // An opaque node has at most a few children, "arguments" and "state".
  for (std::size_t position = 0; position < child_count(node); ++position)
    if (child_key(*at.catalog, node, position) == key) return position;
  return {};
}

std::optional<Tree::NodeId> Tree::find_key(NodeId id, std::string_view key) const noexcept {
  if (const InValue at = resolve(id); at.catalog != nullptr) {
    const auto position = find_in(at, key);
    return position ? std::optional(at.id_of(child_node(*at.catalog, at.container(), *position))) : std::nullopt;
  }
  if (leaf_of(id)) return {};
  // find() tries the prefixes of a path as keys of the root; sizes exclude most of them without a hash.
  const bool of_no_size = id == root && (key.size() >= root_key_sizes_.size() || !root_key_sizes_[key.size()]);
  const std::uint32_t node = of_no_size ? core::NameIndex::none : find_child(static_cast<std::uint32_t>(id), key);
  if (node != core::NameIndex::none) return node;
  // An empty key is the node's own leaf.
  return key.empty() && nodes_[id].leaf != format::none ? std::optional(own_leaf | id) : std::nullopt;
}

// Returns true for maps in catalogs, and for the root, whose keys of metadata and names of too many parts are not
// split.
bool Tree::may_have_dotted_keys(NodeId id) const noexcept {
  if (const InValue at = resolve(id); at.catalog != nullptr) return at.container().kind == NodeKind::map;
  return id == root && has_whole_keys_;
}

// If keys can have dots, looks up the whole of `key` first, then its prefixes from the shortest on; otherwise only its
// first part.
std::optional<Tree::NodeId> Tree::find(NodeId id, std::string_view key) const noexcept {
  while (true) {
    const bool dotted = may_have_dotted_keys(id);
    std::size_t dot = key.find('.');
    if (dotted || dot == std::string_view::npos)
      if (const auto whole = find_key(id, key)) return whole;
    if (dot == std::string_view::npos) return {};
    // Parts are tried from the shortest: a key with dots is rare, and the shortest prefix is the usual one.
    std::optional<NodeId> next = find_key(id, key.substr(0, dot));
    while (dotted && !next && (dot = key.find('.', dot + 1)) != std::string_view::npos)
      next = find_key(id, key.substr(0, dot));
    if (!next) return {};
    id = *next;
    key.remove_prefix(dot + 1);
  }
}

TensorView Tree::tensor(NodeId id) const {
  if (const InValue at = resolve(id); at.catalog != nullptr)
    // A tensor inside a value has an entry in the catalog, but no place in the flat table.
    return state_.shards[values_[at.value].shard]->view(at.catalog->tensors[at.get().tensor]);
  return state_.view(*leaf_of(id));
}

std::size_t Tree::size_bytes() const noexcept {
  return nodes_.capacity() * sizeof(Node) + children_.capacity() * sizeof(std::uint32_t) +
         values_.capacity() * sizeof(LeafValue) + index_.size_bytes();
}

}  // namespace heft::record
