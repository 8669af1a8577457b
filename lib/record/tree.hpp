// record/tree.hpp: the record tree: a trie over flat names whose leaves are tensors or nodes of a shard's catalog.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/name_index.hpp"
#include "core/once.hpp"
#include "format/catalog.hpp"
#include "heft/record.hpp"
#include "record/map_indexes.hpp"
#include "record/node_paths.hpp"
#include "record/state.hpp"

namespace heft::record {

class Source;

/// Built once and immutable. Nodes are identified by NodeId.
///
/// A node has 32 bytes, plus 4 to 16 in the index. Keys and paths are parts of the flat names in the catalogs and are
/// not copied. Containers in catalogs (of pickles, of metadata) are not expanded: they are walked in place, and can be
/// shared or cyclic.
class Tree {
 public:
  /// Returns the tree over all names of the checkpoint, split at dots. Throws Error{limit_exceeded}.
  static std::unique_ptr<const Tree> of_names(const State& state);
  /// Returns a root with the metadata of all shards as children, whose keys are not split; without metadata, a root
  /// without children.
  static std::unique_ptr<const Tree> of_metadata(const State& state);

  /// The identity of a Record's node, in 64 bits:
  ///   a node of the trie        its number
  ///   a trie node's own leaf    own_leaf | its number            (the tensor "a" beside "a.b")
  ///   a node of a catalog       in_value | value << 32 | number  (the value has the catalog and the place in the trie)
  using NodeId = std::uint64_t;
  static constexpr NodeId root = 0;

  /// Null for an element that cannot be read; value() throws for it.
  [[nodiscard]] RecordKind kind(NodeId id) const noexcept;
  [[nodiscard]] std::string_view detail(NodeId id) const noexcept;
  [[nodiscard]] std::string path(NodeId id) const;
  [[nodiscard]] std::size_t count(NodeId id) const noexcept;
  /// Returns child `position` < count(id), and its key.
  [[nodiscard]] NodeId child(NodeId id, std::size_t position) const noexcept;
  [[nodiscard]] std::string key(NodeId id, std::size_t position) const;
  /// Finds a node by key, or by a flat name relative to the node.
  [[nodiscard]] std::optional<NodeId> find(NodeId id, std::string_view key) const noexcept;
  /// Returns the view of a tensor node. Requires that kind() is a tensor.
  [[nodiscard]] TensorView tensor(NodeId id) const;
  /// Returns the node of a catalog; nothing for containers of the trie and for tensors. Throws what Catalog::node()
  /// throws.
  [[nodiscard]] std::optional<format::Node> value(NodeId id) const;
  /// The place of a node of a catalog; nothing for other ids.
  struct Place {
    const format::Catalog* catalog = nullptr;
    std::shared_ptr<const Source> source;  ///< Of the catalog's file; can be null.
  };
  [[nodiscard]] std::optional<Place> place(NodeId id) const;
  /// Returns "module.name" of an opaque node; empty if it is not text.
  [[nodiscard]] std::string_view class_name(NodeId id) const noexcept;

  struct Totals {
    std::uint64_t tensors = 0;
    std::uint64_t bytes = 0;
  };
  /// Returns the totals of all tensors under the node. The first call computes them for all nodes. Throws
  /// Error{limit_exceeded} when the budget does not have the sums.
  [[nodiscard]] Totals totals(NodeId id) const;

  [[nodiscard]] std::size_t size_bytes() const noexcept;
  [[nodiscard]] const State& state() const noexcept { return state_; }
  /// Returns the record of the root, which keeps the tree.
  static Record root_of(std::shared_ptr<const Tree> tree) { return Record(std::move(tree), root); }

 private:
  struct Node {
    const char* name = nullptr;   // the flat name of the first entry under this node ...
    std::uint32_t key_begin = 0;  // ... in which the key is [key_begin, key_end) and the path [0, key_end)
    std::uint32_t key_end = 0;
    std::uint32_t parent = 0;
    std::uint32_t first = 0;  // index in children_
    std::uint32_t count : 31 = 0;
    std::uint32_t is_list : 1 = 0;
    std::uint32_t leaf = format::none;  // position in the flat table, or value_leaf | index of a value

    [[nodiscard]] std::string_view key() const noexcept { return {name + key_begin, key_end - key_begin}; }
    [[nodiscard]] std::string_view path() const noexcept { return {name, key_end}; }
  };
  class Builder;
  struct InValue;

  static constexpr NodeId in_value = NodeId{1} << 63;
  static constexpr NodeId own_leaf = NodeId{1} << 62;
  static constexpr std::uint32_t value_leaf = std::uint32_t{1} << 31;

  explicit Tree(const State& state) noexcept;

  // Returns the leaf of a trie node that has no children.
  [[nodiscard]] std::optional<std::uint32_t> leaf_of(NodeId id) const noexcept;
  [[nodiscard]] InValue resolve(NodeId id) const noexcept;
  // Returns the node; a null node if it is an element that cannot be read.
  [[nodiscard]] static format::Node node_or_null(InValue at) noexcept;
  [[nodiscard]] std::uint32_t find_child(std::uint32_t parent, std::string_view key) const noexcept;
  [[nodiscard]] std::optional<NodeId> find_key(NodeId id, std::string_view key) const noexcept;
  [[nodiscard]] std::optional<std::size_t> find_in(InValue at, std::string_view key) const noexcept;
  [[nodiscard]] bool may_have_dotted_keys(NodeId id) const noexcept;

  // Totals of every node of the trie, and of every node of catalogs (by shard) whose values contain tensors.
  struct Sums {
    std::vector<Totals> trie;
    std::unordered_map<std::uint32_t, std::vector<Totals>> catalogs;
  };
  const Sums& sums() const;
  void add_up_values(core::MetadataCharge& charge) const;
  void add_up_trie() const;
  [[nodiscard]] Totals totals_of_leaf(std::uint32_t leaf) const;
  [[nodiscard]] Totals sum_of_node(std::uint32_t shard, std::uint32_t node) const;

  const State& state_;  // owns this tree
  core::Table<Node> nodes_;
  core::Table<std::uint32_t> children_;
  core::Table<LeafValue> values_;
  core::NameIndex index_;  // by (parent, key)
  core::MetadataCharge index_bytes_;
  bool has_whole_keys_ = false;       // some keys of the root can have dots
  std::vector<bool> root_key_sizes_;  // [n]: some key of the root has n bytes
  MapIndexes map_indexes_;
  NodePaths node_paths_;
  mutable core::Once sums_once_;
  mutable Sums sums_;
  mutable core::MetadataCharge sums_bytes_;
};

// A node of a catalog, and the value that contains it.
struct Tree::InValue {
  const format::Catalog* catalog = nullptr;  // null: not a node of a catalog
  std::uint32_t value = 0;
  std::uint32_t node = 0;

  [[nodiscard]] format::Node get() const { return catalog->node(node); }
  /// As get(), but a null node for elements of packed lists, which are no containers: they may have to be read.
  [[nodiscard]] format::Node container() const noexcept {
    return catalog->is_packed(node) ? format::Node() : catalog->nodes[node];
  }
  [[nodiscard]] NodeId id_of(std::uint32_t other) const noexcept { return in_value | NodeId{value} << 32 | other; }
};

}  // namespace heft::record
