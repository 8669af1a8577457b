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

#include "format/catalog.hpp"
#include "heft/record.hpp"
#include "core/name_index.hpp"
#include "core/once.hpp"
#include "record/map_indexes.hpp"
#include "record/node_paths.hpp"

namespace heft::record {

class Source;
struct State;

/// A leaf that is no tensor: a node of a shard's catalog under a flat name.
struct LeafValue {
  std::string_view name;
  std::uint32_t shard = 0;
  std::uint32_t node = format::none;
};

/// Built once and immutable. A node of it is named by a number of three kinds, see NodeId.
///
/// 32 bytes a node plus 4 to 16 for finding it. Keys and paths are parts of the flat names in the catalogs; nothing of them is copied.
/// Containers that catalogs hold (of pickles, of metadata) are not expanded: they are walked where they lie, shared or cyclic as they are.
class Tree {
 public:
  /// The tree over all names of the checkpoint, split at dots. Throws Error{limit_exceeded}.
  static std::unique_ptr<const Tree> of_names(const State& state);
  /// A root with the metadata of all shards as children, keys whole; a root without children where there is none.
  static std::unique_ptr<const Tree> of_metadata(const State& state);

  /// Which node a Record stands for, in 64 bits:
  ///   a node of the trie        its number
  ///   a trie node's own leaf    own_leaf | its number            (the tensor "a" beside "a.b")
  ///   a node of a catalog       in_value | value << 32 | number  (the value says whose catalog, and where it hangs in the trie)
  using NodeId = std::uint64_t;
  static constexpr NodeId root = 0;

  [[nodiscard]] RecordKind kind(NodeId id) const noexcept;
  [[nodiscard]] std::string_view detail(NodeId id) const noexcept;
  [[nodiscard]] std::string path(NodeId id) const;
  [[nodiscard]] std::size_t count(NodeId id) const noexcept;
  /// Child `position` < count(id), and its key.
  [[nodiscard]] NodeId child(NodeId id, std::size_t position) const noexcept;
  [[nodiscard]] std::string key(NodeId id, std::size_t position) const;
  /// By key, or by a flat name relative to the node.
  [[nodiscard]] std::optional<NodeId> find(NodeId id, std::string_view key) const noexcept;
  /// The view of a tensor node; the caller has looked at kind().
  [[nodiscard]] TensorView tensor(NodeId id) const;
  /// The node of a catalog that the id stands for; nothing for containers of the trie and for tensors.
  [[nodiscard]] std::optional<format::Node> value(NodeId id) const noexcept;
  /// Where a node of a catalog is; nothing for other ids.
  struct Place {
    const format::Catalog* catalog = nullptr;
    std::shared_ptr<const Source> source;  ///< Of the catalog's file; may be null.
  };
  [[nodiscard]] std::optional<Place> place(NodeId id) const;
  /// "module.name" of an opaque node; empty when it is no text.
  [[nodiscard]] std::string_view class_name(NodeId id) const noexcept;

  struct Totals {
    std::uint64_t tensors = 0;
    std::uint64_t bytes = 0;
  };
  /// Of all tensors under the node. The first call adds them up for all nodes. Throws Error{limit_exceeded} when the
  /// budget does not have the sums.
  [[nodiscard]] Totals totals(NodeId id) const;

  [[nodiscard]] std::size_t size_bytes() const noexcept;
  [[nodiscard]] const State& state() const noexcept { return state_; }
  /// A record of the root; `owner` keeps this tree.
  static Record root_of(std::shared_ptr<const Tree> tree) { return Record(std::move(tree), root); }

 private:
  struct Node {
    const char* name = nullptr;   // the flat name of the first entry under this node ...
    std::uint32_t key_begin = 0;  // ... in which the key is [key_begin, key_end) and the path [0, key_end)
    std::uint32_t key_end = 0;
    std::uint32_t parent = 0;
    std::uint32_t first = 0;      // index in children_
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

  // A trie node without children that has a leaf is that leaf.
  [[nodiscard]] std::optional<std::uint32_t> leaf_of(NodeId id) const noexcept;
  [[nodiscard]] InValue resolve(NodeId id) const noexcept;
  [[nodiscard]] std::uint32_t find_child(std::uint32_t parent, std::string_view key) const noexcept;
  [[nodiscard]] std::optional<NodeId> find_key(NodeId id, std::string_view key) const noexcept;
  [[nodiscard]] std::optional<std::size_t> find_in(InValue at, std::string_view key) const noexcept;
  [[nodiscard]] bool may_have_dotted_keys(NodeId id) const noexcept;

  // Totals of every node of the trie, and of every node of the catalogs (by shard) whose values hold tensors.
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
  bool has_whole_keys_ = false;        // some keys of the root may hold dots
  std::vector<bool> root_key_sizes_;   // [n]: some key of the root has n bytes
  MapIndexes map_indexes_;
  NodePaths node_paths_;
  mutable core::Once sums_once_;
  mutable Sums sums_;
  mutable core::MetadataCharge sums_bytes_;
};

// A node of a catalog, and the value under which it hangs.
struct Tree::InValue {
  const format::Catalog* catalog = nullptr;  // null: the id stands for no node of a catalog
  std::uint32_t value = 0;
  std::uint32_t node = 0;

  [[nodiscard]] format::Node get() const noexcept { return catalog->node(node); }
  [[nodiscard]] NodeId id_of(std::uint32_t other) const noexcept { return in_value | NodeId{value} << 32 | other; }
};

}  // namespace heft::record
