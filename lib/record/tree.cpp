#include "record/tree.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "record/list_number.hpp"
#include "record/state.hpp"

namespace heft::record {
namespace {

using format::Catalog;
using format::NodeKind;

constexpr std::string_view opaque_keys[] = {"arguments", "state"};

bool is_container(NodeKind kind) noexcept { return kind == NodeKind::list || kind == NodeKind::map || kind == NodeKind::opaque; }

std::uint32_t child_count(const format::Node& node) noexcept {
  if (node.kind == NodeKind::opaque) return node.count > 1 ? node.count - 1 : 0;
  return is_container(node.kind) ? node.count : 0;
}

// Number of the node of child `position`; a map's is the value of its pair, an opaque's comes after its name.
std::uint32_t child_node(const Catalog& catalog, const format::Node& node, std::size_t position) noexcept {
  const std::uint64_t step = node.kind == NodeKind::map ? 2 * position + 1 : node.kind == NodeKind::opaque ? position + 1 : position;
  return catalog.child(node, step);
}

const format::Node& key_node(const Catalog& catalog, const format::Node& map, std::size_t position) noexcept {
  return catalog.nodes[catalog.children[map.first + 2 * position]];
}

// Keys of pickled dicts may be anything; as path parts they are text, as Python prints it.
std::string key_text(const format::Node& key) {
  switch (key.kind) {
    case NodeKind::text: return std::string(key.text, key.count);
    case NodeKind::integer: return key.count == 0 ? fmt::to_string(key.integer) : "<big integer>";
    case NodeKind::unsigned_integer: return fmt::to_string(key.natural);
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

bool key_matches(const format::Node& key, std::string_view wanted) noexcept {
  if (key.kind == NodeKind::text) return std::string_view(key.text, key.count) == wanted;
  char digits[24];
  if (key.kind != NodeKind::integer || key.count != 0) return false;
  const char* end = std::to_chars(digits, digits + sizeof digits, key.integer).ptr;
  return std::string_view(digits, static_cast<std::size_t>(end - digits)) == wanted;
}

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

std::string child_key(const Catalog& catalog, const format::Node& node, std::size_t position) {
  if (node.kind == NodeKind::map) return key_text(key_node(catalog, node, position));
  if (node.kind == NodeKind::opaque && position < std::size(opaque_keys)) return std::string(opaque_keys[position]);
  return fmt::to_string(position);
}

// The number that a list's key spells, if it is below `count`.
std::optional<std::size_t> position_of(std::string_view key, std::size_t count) noexcept {
  const auto number = list_number(key);
  return number && *number < count ? std::optional<std::size_t>(*number) : std::nullopt;
}

std::optional<std::size_t> find_in(const Catalog& catalog, const format::Node& node, std::string_view key) noexcept {
  if (node.kind == NodeKind::list) return position_of(key, node.count);
  for (std::size_t position = 0; position < child_count(node); ++position) {
    if (node.kind == NodeKind::map ? key_matches(key_node(catalog, node, position), key)
                                   : position < std::size(opaque_keys) && opaque_keys[position] == key)
      return position;
  }
  return {};
}

// Path from `from` to `to` through the containers of a catalog, as "[.key]..."; the first that a search in order finds. Nodes may be shared
// or cyclic: each is entered once.
std::string path_between(const Catalog& catalog, std::uint32_t from, std::uint32_t to) {
  struct Step {
    std::uint32_t node;
    std::uint32_t next;
  };
  std::vector<bool> entered(catalog.nodes.size());
  std::vector<Step> steps{{from, 0}};
  while (!steps.empty() && steps.back().node != to) {
    Step& step = steps.back();
    const format::Node& node = catalog.nodes[step.node];
    if (step.next == child_count(node)) {
      steps.pop_back();
      continue;
    }
    const std::uint32_t child = child_node(catalog, node, step.next++);
    if (catalog.is_packed(child) ? child != to : entered[child]) continue;
    if (!catalog.is_packed(child)) entered[child] = true;
    steps.push_back({child, 0});
  }
  std::string path;
  for (std::size_t i = 0; i + 1 < steps.size(); ++i)
    path += "." + child_key(catalog, catalog.nodes[steps[i].node], steps[i].next - 1);
  return path;
}

std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) noexcept { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

}  // namespace

// A node of a catalog, and the value under which it hangs.
struct Tree::InValue {
  const Catalog* catalog = nullptr;  // null: the id stands for no node of a catalog
  std::uint32_t value = 0;
  std::uint32_t node = 0;

  [[nodiscard]] format::Node get() const noexcept { return catalog->node(node); }
  [[nodiscard]] NodeId id_of(std::uint32_t other) const noexcept { return in_value | NodeId{value} << 32 | other; }
};

std::optional<std::uint32_t> Tree::leaf_of(NodeId id) const noexcept {
  if ((id & in_value) != 0) return {};
  const Node& node = nodes_[id & ~own_leaf];
  if (node.leaf == format::none || ((id & own_leaf) == 0 && node.count != 0)) return {};
  return node.leaf;
}

Tree::InValue Tree::resolve(NodeId id) const noexcept {
  if ((id & in_value) != 0) {
    const auto value = static_cast<std::uint32_t>((id & ~in_value) >> 32);
    return {&state_.catalog(values_[value].shard), value, static_cast<std::uint32_t>(id)};
  }
  const auto leaf = leaf_of(id);
  if (!leaf || (*leaf & value_leaf) == 0) return {};
  const std::uint32_t value = *leaf & ~value_leaf;
  return {&state_.catalog(values_[value].shard), value, values_[value].node};
}

std::optional<format::Node> Tree::value(NodeId id) const noexcept {
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
  if (at.catalog == nullptr || at.get().count == 0) return {};
  const format::Node name = at.catalog->node(at.catalog->child(at.get(), 0));
  return name.kind == NodeKind::text ? std::string_view(name.text, name.count) : std::string_view();
}

RecordKind Tree::kind(NodeId id) const noexcept {
  if (const InValue at = resolve(id); at.catalog != nullptr) return record_kind(at.get().kind);
  if (leaf_of(id)) return RecordKind::tensor;
  return nodes_[id].is_list != 0 ? RecordKind::list : RecordKind::map;
}

std::string_view Tree::detail(NodeId id) const noexcept {
  const InValue at = resolve(id);
  return at.catalog == nullptr ? std::string_view() : format::name(at.get().variant);
}

std::string Tree::path(NodeId id) const {
  if ((id & in_value) == 0) return std::string(nodes_[id & ~own_leaf].path());
  const InValue at = resolve(id);
  std::string path(values_[at.value].name);
  path += path_between(*at.catalog, values_[at.value].node, at.node);
  return path.starts_with('.') && values_[at.value].name.empty() ? path.substr(1) : path;
}

std::size_t Tree::count(NodeId id) const noexcept {
  if (const InValue at = resolve(id); at.catalog != nullptr) return child_count(at.get());
  if (leaf_of(id)) return 0;
  const Node& node = nodes_[id];
  return node.count + (node.leaf != format::none ? std::size_t{1} : 0);
}

Tree::NodeId Tree::child(NodeId id, std::size_t position) const noexcept {
  if (const InValue at = resolve(id); at.catalog != nullptr) return at.id_of(child_node(*at.catalog, at.get(), position));
  const Node& node = nodes_[id];
  return position == node.count ? own_leaf | id : children_[node.first + position];
}

std::string Tree::key(NodeId id, std::size_t position) const {
  if (const InValue at = resolve(id); at.catalog != nullptr) return child_key(*at.catalog, at.get(), position);
  const Node& node = nodes_[id];
  return position == node.count ? std::string() : std::string(nodes_[children_[node.first + position]].key());
}

std::uint32_t Tree::find_child(std::uint32_t parent, std::string_view key) const noexcept {
  return index_.find(state_.hash(key, parent),
                     [&](std::uint32_t node) { return nodes_[node].parent == parent && nodes_[node].key() == key; });
}

std::optional<Tree::NodeId> Tree::find_key(NodeId id, std::string_view key) const noexcept {
  if (const InValue at = resolve(id); at.catalog != nullptr) {
    const auto position = find_in(*at.catalog, at.get(), key);
    return position ? std::optional(at.id_of(child_node(*at.catalog, at.get(), *position))) : std::nullopt;
  }
  if (leaf_of(id)) return {};
  const std::uint32_t node = find_child(static_cast<std::uint32_t>(id), key);
  if (node != core::NameIndex::none) return node;
  return key.empty() && nodes_[id].leaf != format::none ? std::optional(own_leaf | id) : std::nullopt;
}

std::optional<Tree::NodeId> Tree::find(NodeId id, std::string_view key) const noexcept {
  // The longest way is taken first only where a key itself holds dots (metadata, dicts of a pickle); the trie's keys hold none.
  while (true) {
    if (const auto whole = find_key(id, key)) return whole;
    std::optional<NodeId> next;
    std::size_t dot = key.find('.');
    for (; dot != std::string_view::npos && !next; dot = next ? dot : key.find('.', dot + 1)) next = find_key(id, key.substr(0, dot));
    if (!next) return {};
    id = *next;
    key.remove_prefix(dot + 1);
  }
}

TensorView Tree::tensor(NodeId id) const {
  if (const InValue at = resolve(id); at.catalog != nullptr)
    return state_.shards[values_[at.value].shard]->view(at.catalog->tensors[at.get().tensor]);
  return state_.view(*leaf_of(id));
}

Tree::Totals Tree::totals(NodeId id) const {
  if (const InValue at = resolve(id); at.catalog != nullptr) return totals_in_value(at);
  if (leaf_of(id)) return {1, tensor(id).size_bytes()};
  Totals sum;
  std::vector<NodeId> left{id};
  while (!left.empty()) {
    const NodeId at = left.back();
    left.pop_back();
    const bool is_leaf = leaf_of(at).has_value();
    if (is_leaf) {
      const Totals part = totals(at);
      sum = {saturating_add(sum.tensors, part.tensors), saturating_add(sum.bytes, part.bytes)};
      continue;
    }
    for (std::size_t position = 0; position < count(at); ++position) left.push_back(child(at, position));
  }
  return sum;
}

// Each node's totals are computed once, however many paths lead to it, so memo bombs cost nothing; a cycle is followed once.
Tree::Totals Tree::totals_in_value(InValue at) const {
  struct Step {
    std::uint32_t node;
    std::uint32_t next;
    Totals sum;
  };
  std::unordered_map<std::uint32_t, Totals> known;
  std::vector<Step> steps{{at.node, 0, {}}};
  Totals last;
  while (!steps.empty()) {
    Step& step = steps.back();
    const format::Node node = at.catalog->node(step.node);
    if (step.next == 0) known[step.node] = {};
    if (node.kind == NodeKind::tensor) step.sum = {1, tensor(at.id_of(step.node)).size_bytes()};
    const bool holds_scalars = node.kind == NodeKind::list && (node.first & format::packed_list) != 0;
    if (holds_scalars || step.next == child_count(node)) {
      last = known[step.node] = step.sum;
      steps.pop_back();
      if (!steps.empty()) steps.back().sum = {saturating_add(steps.back().sum.tensors, last.tensors), saturating_add(steps.back().sum.bytes, last.bytes)};
      continue;
    }
    const std::uint32_t child = child_node(*at.catalog, node, step.next++);
    if (const auto found = known.find(child); found != known.end())
      step.sum = {saturating_add(step.sum.tensors, found->second.tensors), saturating_add(step.sum.bytes, found->second.bytes)};
    else steps.push_back({child, 0, {}});
  }
  return last;
}

std::size_t Tree::size_bytes() const noexcept {
  return nodes_.capacity() * sizeof(Node) + children_.capacity() * sizeof(std::uint32_t) + values_.capacity() * sizeof(LeafValue) +
         index_.size_bytes();
}

}  // namespace heft::record
