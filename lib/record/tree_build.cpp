// record/tree_build.cpp: builds the tree: one pass over the names, then one over the nodes that makes children
// contiguous.
#include <algorithm>
#include <charconv>

#include "core/checked.hpp"
#include "record/part_count.hpp"
#include "record/state.hpp"
#include "record/tree.hpp"

namespace heft::record {
namespace {

// Returns the number that `key` spells, or nothing: "0", "17", but not "01", "-1" or "".
std::optional<std::uint32_t> list_index(std::string_view key) noexcept {
  // "01" and "1" can be keys of one map, and are not one index.
  if (key.empty() || (key.size() > 1 && key[0] == '0')) return {};
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), number);
  if (error != std::errc() || end != key.data() + key.size()) return {};
  return number;
}

}  // namespace

class Tree::Builder {
 public:
  explicit Builder(Tree& tree) : tree_(tree), limits_(tree.state_.limits) {
    // The root, whose path and key are empty.
    tree_.nodes_.emplace_back();
    tree_.nodes_[root].name = "";
    grow();
  }

  // Adds a name split at its dots. Parts that it shares with the previous name, usually most, need no lookup.
  void add_split(std::string_view name, std::uint32_t leaf) {
    if (has_too_many_parts(name, limits_.record_depth)) return add_whole(name, leaf);
    const std::size_t depth = shared_parts(name);
    trail_.resize(depth);
    // Continues behind the dot after the last shared part.
    std::size_t begin = depth == 0 ? 0 : tree_.nodes_[trail_.back()].key_end + std::size_t{1};
    std::uint32_t node = depth == 0 ? static_cast<std::uint32_t>(root) : trail_.back();
    while (begin <= name.size() && !name.empty()) {
      const std::size_t end = std::min(name.find('.', begin), name.size());
      node = enter(node, name, begin, end);
      trail_.push_back(node);
      begin = end + 1;
    }
    previous_ = name;
    set_leaf(node, leaf);
  }

  // Adds a child of the root whose key is the whole name.
  void add_whole(std::string_view name, std::uint32_t leaf) {
    tree_.has_whole_keys_ = true;
    set_leaf(enter(root, name, 0, name.size()), leaf);
  }

  // Adds the pairs of a catalog's metadata; an existing key keeps its value.
  void add_metadata(std::uint32_t shard) {
    const format::Catalog& catalog = tree_.state_.catalog(shard);
    if (catalog.metadata == format::none) return;
    const format::Node& map = catalog.nodes[catalog.metadata];
    for (std::uint32_t pair = 0; map.kind == format::NodeKind::map && pair < map.count; ++pair) {
      const std::uint32_t* const children = catalog.children.data() + map.first;
      const format::Node& key = catalog.nodes[children[std::size_t{2} * pair]];
      // Keys of metadata are names to callers.
      if (key.kind != format::NodeKind::text) continue;
      tree_.values_.push_back({.name = {key.text, key.count}, .shard = shard, .node = children[2 * pair + 1]});
      add_whole(tree_.values_.back().name, value_leaf | static_cast<std::uint32_t>(tree_.values_.size() - 1));
    }
  }

  void finish() {
    lay_out_children();
    // From 1: the root is a map, even if its keys are numbers.
    for (std::uint32_t node = 1; node < tree_.nodes_.size(); ++node) make_list_if_numbered(tree_.nodes_[node]);
    note_root_key_sizes();
    tree_.nodes_.shrink_to_fit();
  }

 private:
  // Sets the leaf of a node. A tensor takes precedence over a value with the same name; formats do not make both.
  void set_leaf(std::uint32_t node, std::uint32_t leaf) {
    if (tree_.nodes_[node].leaf == format::none) tree_.nodes_[node].leaf = leaf;
  }

  [[nodiscard]] std::size_t shared_parts(std::string_view name) const noexcept {
    const std::size_t common = static_cast<std::size_t>(
        std::mismatch(name.begin(), name.end(), previous_.begin(), previous_.end()).first - name.begin());
    std::size_t parts = 0;
    while (parts < trail_.size()) {
      const std::size_t end = tree_.nodes_[trail_[parts]].key_end;
      // The part must also end at a dot of the new name, or be the whole of it.
      if (end > common || (end < name.size() && name[end] != '.')) break;
      ++parts;
    }
    return parts;
  }

  std::uint32_t enter(std::uint32_t parent, std::string_view name, std::size_t begin, std::size_t end) {
    const std::string_view key = name.substr(begin, end - begin);
    const auto next = static_cast<std::uint32_t>(tree_.nodes_.size());
    core::require_limit(next, limits_.record_visits, "the number of nodes of the record tree", "record_visits");
    // The root has the parent 0 and an empty key, as a child of the root with an empty key has.
    const std::uint32_t held = tree_.index_.insert(tree_.state_.hash(key, parent), next, [&](std::uint32_t node) {
      return tree_.nodes_[node].parent == parent && tree_.nodes_[node].key() == key && node != root;
    });
    if (held != core::NameIndex::none) return held;
    // The name stays in the catalog; the node has a range of it.
    tree_.nodes_.push_back({.name = name.data(),
                            .key_begin = static_cast<std::uint32_t>(begin),
                            .key_end = static_cast<std::uint32_t>(end),
                            .parent = parent});
    tree_.nodes_[parent].count = tree_.nodes_[parent].count + 1;
    if (tree_.nodes_.size() == room_) grow();
    return next;
  }

  void grow() {
    const std::size_t had = tree_.index_.size_bytes();
    // Trees have a few nodes more than tensors. Doubling keeps the cost of inserting again linear.
    room_ = room_ == 0 ? tree_.state_.entries.size() + 64 : room_ * 2;
    tree_.index_bytes_.add(core::NameIndex::size_for(room_) - had);
    tree_.index_ = core::NameIndex(room_);
    for (std::uint32_t node = 1; node < tree_.nodes_.size(); ++node)
      tree_.index_.insert(tree_.state_.hash(tree_.nodes_[node].key(), tree_.nodes_[node].parent), node,
                          [](std::uint32_t) { return false; });
  }

  void lay_out_children() {
    std::uint32_t next = 0;
    // A counting sort by parent, in two passes: first where each node's children start, then the children in the order
    // in which they were added. `count` serves as cursor meanwhile.
    for (Node& node : tree_.nodes_) {
      node.first = next;
      next += node.count;
      node.count = 0;
    }
    tree_.children_.resize(next);
    for (std::uint32_t child = 1; child < tree_.nodes_.size(); ++child) {
      Node& parent = tree_.nodes_[tree_.nodes_[child].parent];
      tree_.children_[parent.first + parent.count] = child;
      parent.count = parent.count + 1;
    }
  }

  void note_root_key_sizes() {
    const Node& node = tree_.nodes_[root];
    for (std::uint32_t child = 0; child < node.count; ++child) {
      const std::size_t size = tree_.nodes_[tree_.children_[node.first + child]].key().size();
      if (size >= tree_.root_key_sizes_.size()) tree_.root_key_sizes_.resize(size + 1);
      tree_.root_key_sizes_[size] = true;
    }
  }

  // Keys are unique, so `count` numbers below `count` are 0..count-1.
  void make_list_if_numbered(Node& node) {
    const std::span<std::uint32_t> children(tree_.children_.data() + node.first, node.count);
    // A node with a leaf of its own has an empty key among its children, which is no index.
    if (children.empty() || node.leaf != format::none) return;
    ordered_.resize(children.size());
    for (const std::uint32_t child : children) {
      const auto number = list_index(tree_.nodes_[child].key());
      // A gap or another key: a map in the order of the file.
      if (!number || *number >= children.size()) return;
      ordered_[*number] = child;
    }
    std::copy(ordered_.begin(), ordered_.end(), children.begin());
    node.is_list = 1;
  }

  Tree& tree_;
  const Limits& limits_;
  std::size_t room_ = 0;
  std::string_view previous_;
  std::vector<std::uint32_t> trail_;  // nodes of the parts of `previous_`
  std::vector<std::uint32_t> ordered_;
};

Tree::Tree(const State& state) noexcept
    : state_(state),
      nodes_(state.budget),
      children_(state.budget),
      values_(state.budget),
      index_bytes_(state.budget),
      map_indexes_(state),
      node_paths_(state, values_) {}

namespace {

// Leaves of one shard in the order of its document.
struct Ranks {
  std::vector<std::uint32_t> of_tensor;  // of each entry of the catalog
  std::vector<std::uint32_t> of_value;

  explicit Ranks(const format::Catalog& catalog) : of_tensor(catalog.tensors.size()), of_value(catalog.values.size()) {
    // An order with other leaves than the tables does not fit: all ranks are 0 then, and the stable sort keeps the
    // order of the tables.
    const bool is_whole = catalog.order.size() == of_tensor.size() + of_value.size();
    for (std::uint32_t rank = 0; is_whole && rank < catalog.order.size(); ++rank) {
      const std::uint32_t leaf = catalog.order[rank];
      if ((leaf & format::order_of_value) != 0)
        of_value[leaf & ~format::order_of_value] = rank;
      else
        of_tensor[leaf] = rank;
    }
  }
};

// Returns the numbers of tensors, then value | number of values; in document order if the shards have one and the table
// has all of their leaves.
std::vector<std::uint32_t> leaves_of(const State& state, std::uint32_t value_bit, core::MetadataCharge& charge) {
  // The numbers, what they are sorted by, the ranks, and a buffer to sort in.
  constexpr std::uint64_t bytes_a_leaf = 3 * sizeof(std::uint32_t) + sizeof(std::uint64_t);
  charge.add((state.entries.size() + state.values.size()) * bytes_a_leaf);
  std::vector<std::uint32_t> leaves;
  leaves.reserve(state.entries.size() + state.values.size());
  for (std::uint32_t position = 0; position < state.entries.size(); ++position) leaves.push_back(position);
  for (std::uint32_t value = 0; value < state.values.size(); ++value) leaves.push_back(value_bit | value);
  const bool has_order =
      std::ranges::any_of(state.shards, [](const auto& shard) { return !shard->catalog->order.empty(); });
  // Made views have no place in a document.
  if (!has_order || !state.made.empty()) return leaves;
  std::vector<Ranks> ranks;
  for (const auto& shard : state.shards) ranks.emplace_back(*shard->catalog);
  std::vector<std::uint64_t> keys;  // of each leaf
  keys.reserve(leaves.size());
  for (const EntryRef at : state.entries)
    // By shard, then by place in the shard's document.
    keys.push_back(std::uint64_t{at.shard} << 32 | ranks[at.shard].of_tensor[at.entry]);
  std::vector<std::uint32_t> next(state.shards.size());
  for (const LeafValue& value : state.values) {
    // Filters have removed leaves, so positions do not match: values come after tensors, as without an order.
    if (value.shard >= next.size() || next[value.shard] >= ranks[value.shard].of_value.size()) return leaves;
    keys.push_back(std::uint64_t{value.shard} << 32 | ranks[value.shard].of_value[next[value.shard]++]);
  }
  const auto key_of = [&](std::uint32_t leaf) {
    return keys[(leaf & value_bit) == 0 ? leaf : state.entries.size() + (leaf & ~value_bit)];
  };
  std::ranges::stable_sort(leaves, {}, key_of);
  return leaves;
}

}  // namespace

std::unique_ptr<const Tree> Tree::of_names(const State& state) {
  std::unique_ptr<Tree> tree(new Tree(state));
  Builder builder(*tree);
  // Copied, because a derived checkpoint renames values.
  tree->values_.insert(tree->values_.end(), state.values.begin(), state.values.end());
  core::MetadataCharge charge(state.budget);  // until the tree is built
  for (const std::uint32_t leaf : leaves_of(state, value_leaf, charge))
    builder.add_split((leaf & value_leaf) == 0 ? state.name(leaf) : state.values[leaf & ~value_leaf].name, leaf);
  builder.finish();
  return tree;
}

std::unique_ptr<const Tree> Tree::of_metadata(const State& state) {
  std::unique_ptr<Tree> tree(new Tree(state));
  Builder builder(*tree);
  // First: add_metadata() keeps the first value of a key, and params.json holds for all parts.
  if (state.params) builder.add_metadata(State::of_params);
  for (std::uint32_t shard = 0; shard < state.shards.size(); ++shard) builder.add_metadata(shard);
  builder.finish();
  return tree;
}

const Tree& State::tree() const {
  tree_once_.call([this] {
    try {
      // A limit or a budget that is exceeded throws, and the next call tries again.
      tree_ = Tree::of_names(*this);
    } catch (const Error& error) {
      throw error.with_path(path);
    }
    account(tree_->size_bytes());
  });
  return *tree_;
}

const Tree& State::metadata() const {
  metadata_once_.call([this] { metadata_ = Tree::of_metadata(*this); });
  return *metadata_;
}

}  // namespace heft::record
