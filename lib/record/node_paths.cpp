#include "record/node_paths.hpp"

#include <algorithm>
#include <ranges>
#include <utility>

#include "record/node_children.hpp"
#include "record/state.hpp"

namespace heft::record {
namespace {

using format::Catalog;

// Returns the index in Catalog::packed of the list that contains `node`. Lists are sorted by their first node.
std::size_t packed_list_of(const Catalog& catalog, std::uint32_t node) noexcept {
  return static_cast<std::size_t>(std::ranges::upper_bound(catalog.packed, node, {}, &format::PackedList::first) -
                                  catalog.packed.begin()) -
         1;
}

// Returns true for a list whose elements have numbers, but no nodes.
bool is_packed_list(const format::Node& node) noexcept {
  return node.kind == format::NodeKind::list && (node.first & format::packed_list) != 0;
}

// Returns the path between two nodes if the walk over all values reached `to` through another value: walks from `from`.
std::string search(const Catalog& catalog, std::uint32_t from, std::uint32_t to) {
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
    // Elements of packed lists have no children, so only the wanted one is entered.
    if (catalog.is_packed(child) ? child != to : entered[child]) continue;
    if (!catalog.is_packed(child)) entered[child] = true;
    steps.push_back({child, 0});
  }
  std::string path;
  for (std::size_t i = 0; i + 1 < steps.size(); ++i)
    // `next` is one past the child that the step above it entered.
    path += "." + child_key(catalog, catalog.nodes[steps[i].node], steps[i].next - 1);
  return path;
}

}  // namespace

std::string NodePaths::between(const LeafValue& value, std::uint32_t node) const {
  const Catalog& catalog = state_.catalog(value.shard);
  const Holders& holders = holders_of(value.shard);
  std::vector<Holder> way;
  for (std::uint32_t at = node; at != value.node; at = way.back().node) {
    const Holder holder = holder_of(catalog, holders, at);
    // The walk reached the node first from another value that shares it; that way does not pass through this value.
    if (holder.node == format::none) return search(catalog, value.node, node);
    way.push_back(holder);
  }
  std::string path;
  // `way` goes up from the node.
  for (const auto& step : way | std::views::reverse)
    path += "." + child_key(catalog, catalog.nodes[step.node], step.position);
  return path;
}

NodePaths::Holder NodePaths::holder_of(const Catalog& catalog, const Holders& holders, std::uint32_t node) noexcept {
  if (!catalog.is_packed(node)) return holders.of_nodes[node];
  const std::size_t list = packed_list_of(catalog, node);
  return {holders.of_packed[list], node - catalog.packed[list].first};
}

const NodePaths::Holders& NodePaths::holders_of(std::uint32_t shard) const {
  once_.call([this] {
    std::unordered_map<std::uint32_t, std::vector<bool>> entered;
    std::uint64_t size = 0;
    core::MetadataCharge charge(state_.budget);
    // A call that ran out of memory has left a part; Once runs the function again.
    holders_.clear();
    for (const LeafValue& value : values_) {
      const Catalog& catalog = state_.catalog(value.shard);
      Holders& holders = holders_[value.shard];
      if (holders.of_nodes.empty()) {
        const std::uint64_t bytes =
            catalog.nodes.size() * sizeof(Holder) + catalog.packed.size() * sizeof(std::uint32_t);
        // Before the allocation; `entered` is a bit for each node.
        charge.add(bytes + catalog.nodes.size() / 8);
        holders.of_nodes.resize(catalog.nodes.size());
        holders.of_packed.resize(catalog.packed.size(), format::none);
        entered[value.shard].resize(catalog.nodes.size());
        size += bytes;
      }
      walk(catalog, value.node, holders, entered[value.shard]);
    }
    state_.account(size);
    holders_bytes_ = std::move(charge);
  });
  return holders_.at(shard);
}

// Walks each node once, in order, and records the container that it was first reached from.
void NodePaths::walk(const Catalog& catalog, std::uint32_t from, Holders& into, std::vector<bool>& entered) const {
  if (catalog.is_packed(from) || entered[from]) return;
  entered[from] = true;
  // A stack of its own, because a pickle can nest deeper than the thread's stack.
  std::vector<Holder> left{{from, 0}};
  while (!left.empty()) {
    Holder& at = left.back();
    const format::Node& node = catalog.nodes[at.node];
    // One entry for all elements: their position follows from their number.
    if (is_packed_list(node) && node.count > 0)
      into.of_packed[packed_list_of(catalog, static_cast<std::uint32_t>(node.first))] = at.node;
    if (is_packed_list(node) || at.position == child_count(node)) {
      left.pop_back();
      continue;
    }
    const std::uint32_t position = at.position++;
    const std::uint32_t child = child_node(catalog, node, position);
    // Shared or cyclic: the first path to it is its path.
    if (entered[child]) continue;
    entered[child] = true;
    into.of_nodes[child] = {at.node, position};
    left.push_back({child, 0});
  }
}

}  // namespace heft::record
