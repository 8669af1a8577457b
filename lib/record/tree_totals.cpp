// record/tree_totals.cpp: computes the tensors and bytes under every node of the tree once, so that showing a tree
// takes linear time.
#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "record/node_children.hpp"
#include "record/state.hpp"
#include "record/tree.hpp"

namespace heft::record {
namespace {

using format::Catalog;
using format::NodeKind;

// Returns a + b, or the largest number: shared containers can add up to more than 64 bits.
std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) noexcept {
  return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

// Adds `part` to `sum`.
void add(Tree::Totals& sum, const Tree::Totals& part) noexcept {
  sum = {saturating_add(sum.tensors, part.tensors), saturating_add(sum.bytes, part.bytes)};
}

// Returns true if a value of the catalog contains a tensor.
bool has_tensors(const Catalog& catalog) noexcept {
  return std::ranges::any_of(catalog.nodes, [](const format::Node& node) { return node.kind == NodeKind::tensor; });
}

// Computes the totals of the nodes of one catalog. A node counts once for each path to it but is computed once, so that
// memo bombs take linear time. A reference to an enclosing container, a cycle, counts as nothing.
class Adder {
 public:
  Adder(const Shard& shard, std::vector<Tree::Totals>& sums)
      : shard_(shard), catalog_(*shard.catalog), sums_(sums), entered_(sums.size()) {}

  void run(std::uint32_t from) {
    if (catalog_.is_packed(from) || entered_[from]) return;
    enter(from);
    while (!steps_.empty()) {
      Step& step = steps_.back();
      const format::Node& node = catalog_.nodes[step.node];
      // The elements of a packed list have no nodes, and are no tensors.
      const bool holds_scalars = node.kind == NodeKind::list && (node.first & format::packed_list) != 0;
      if (holds_scalars || step.next == child_count(node))
        leave();
      else
        visit(child_node(catalog_, node, step.next++));
    }
  }

 private:
  struct Step {
    std::uint32_t node;
    std::uint32_t next;
    Tree::Totals sum;
  };

  void enter(std::uint32_t number) {
    const format::Node& node = catalog_.nodes[number];
    // Marked on entering, so that a reference back to it finds a sum of 0: a cycle ends.
    entered_[number] = true;
    const bool is_tensor = node.kind == NodeKind::tensor;
    steps_.push_back(
        {number, 0,
         is_tensor ? Tree::Totals{1, shard_.view(catalog_.tensors[node.tensor]).size_bytes()} : Tree::Totals{}});
  }

  void visit(std::uint32_t child) {
    if (entered_[child])
      // Computed already, or still open, an enclosing container, whose sum is 0 so far.
      add(steps_.back().sum, sums_[child]);
    else
      enter(child);
  }

  void leave() {
    const Step done = steps_.back();
    steps_.pop_back();
    sums_[done.node] = done.sum;
    if (!steps_.empty()) add(steps_.back().sum, done.sum);
  }

  const Shard& shard_;
  const Catalog& catalog_;
  std::vector<Tree::Totals>& sums_;
  std::vector<bool> entered_;
  std::vector<Step> steps_;
};

}  // namespace

const Tree::Sums& Tree::sums() const {
  sums_once_.call([this] {
    core::MetadataCharge charge(state_.budget);
    // Owned by this function until the end, so that a failure gives it back; Once lets the next call try again.
    charge.add(nodes_.size() * sizeof(Totals));
    add_up_values(charge);
    add_up_trie();
    sums_bytes_ = std::move(charge);
    std::uint64_t size = sums_.trie.capacity() * sizeof(Totals);
    for (const auto& [shard, nodes] : sums_.catalogs) size += nodes.capacity() * sizeof(Totals);
    state_.account(size);
  });
  return sums_;
}

// Skips catalogs without tensors among their nodes, which only pickles have.
void Tree::add_up_values(core::MetadataCharge& charge) const {
  sums_.catalogs.clear();
  std::unordered_map<std::uint32_t, std::unique_ptr<Adder>> adders;
  for (const LeafValue& value : values_) {
    // One for each catalog, since values of a file can share nodes.
    const auto [adder, is_new] = adders.try_emplace(value.shard);
    const Catalog& catalog = state_.catalog(value.shard);
    if (is_new && value.shard < state_.shards.size() && has_tensors(catalog)) {
      // A bit for each node is entered_.
      charge.add(catalog.nodes.size() * sizeof(Totals) + catalog.nodes.size() / 8);
      std::vector<Totals>& sums = sums_.catalogs[value.shard];
      sums.resize(catalog.nodes.size());
      adder->second = std::make_unique<Adder>(*state_.shards[value.shard], sums);
    }
    if (adder->second) adder->second->run(value.node);
  }
}

// Goes backwards, because parents come before their children.
void Tree::add_up_trie() const {
  sums_.trie.assign(nodes_.size(), {});
  // A node's own sum is complete here: all nodes below it have larger numbers and have been added to it.
  for (std::size_t node = nodes_.size(); node-- > 0;) {
    if (nodes_[node].leaf != format::none) add(sums_.trie[node], totals_of_leaf(nodes_[node].leaf));
    if (node != root) add(sums_.trie[nodes_[node].parent], sums_.trie[node]);
  }
}

Tree::Totals Tree::totals_of_leaf(std::uint32_t leaf) const {
  if ((leaf & value_leaf) == 0) return {1, state_.view(leaf).size_bytes()};
  const LeafValue& value = values_[leaf & ~value_leaf];
  return sum_of_node(value.shard, value.node);
}

Tree::Totals Tree::sum_of_node(std::uint32_t shard, std::uint32_t node) const {
  const auto found = sums_.catalogs.find(shard);
  // Catalogs without tensors have no sums, and elements of packed lists are no tensors.
  return found == sums_.catalogs.end() || state_.catalog(shard).is_packed(node) ? Totals{} : found->second[node];
}

Tree::Totals Tree::totals(NodeId id) const {
  // Without the sums: a single tensor must not cost a walk of the whole tree.
  if (kind(id) == RecordKind::tensor) return {1, tensor(id).size_bytes()};
  const Sums& sums = this->sums();
  if (const InValue at = resolve(id); at.catalog != nullptr) return sum_of_node(values_[at.value].shard, at.node);
  return sums.trie[id];
}

}  // namespace heft::record
