// record/state.hpp: the state of an opened checkpoint: shards, the table of tensors in file order, the index of names,
// the tree.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/name_hash.hpp"
#include "core/name_index.hpp"
#include "core/once.hpp"
#include "core/text.hpp"
#include "heft/checkpoint.hpp"
#include "heft/limits.hpp"
#include "record/origin.hpp"
#include "record/shard.hpp"

namespace heft::record {

class Tree;

/// A tensor of the table: an entry of a shard's catalog, or (shard == made) a view made of several.
struct EntryRef {
  static constexpr std::uint32_t made = 0xFFFFFFFF;
  std::uint32_t shard = 0;
  std::uint32_t entry = 0;
};

/// A leaf other than a tensor: a node of a shard's catalog with a flat name.
struct LeafValue {
  std::string_view name;
  std::uint32_t shard = 0;
  std::uint32_t node = format::none;
};

/// Filled by open() and by Derivation, then immutable except for the trees, which are built on first use.
struct State : std::enable_shared_from_this<State> {
  static constexpr std::uint32_t of_params = 0xFFFFFFFE;  ///< In place of a shard's number: `params`.

  std::string path;
  Limits limits;
  std::shared_ptr<core::MetadataBudget> budget;  ///< Of the files; null for a derived checkpoint.
  std::vector<std::shared_ptr<const Shard>> shards;
  std::vector<ShardInfo> infos;         ///< Parallel to `shards`.
  std::vector<Origin> origins;          ///< The folder, the index and every file.
  std::shared_ptr<const Shard> params;  ///< A Meta folder's params.json: its members are metadata.
  std::vector<EntryRef> entries;        ///< All tensors in file order.
  core::Table<LeafValue> values;        ///< The leaves other than tensors.
  std::vector<TensorView> made;
  std::vector<std::string_view> names;            ///< Parallel to `entries`, for the index.
  std::shared_ptr<const core::Arena> name_arena;  ///< Memory of `names` that are not in the files; views keep it.
  std::vector<std::string> notes;
  std::vector<std::string> absent;  ///< Names in the index `absent_in` that no shard has, sorted.
  std::string absent_in;
  std::vector<std::string> skipped;  ///< Names that filters have left out.
  core::NameHash hash;
  core::NameIndex index;

  [[nodiscard]] std::string_view name(std::uint32_t position) const noexcept;
  [[nodiscard]] TensorView view(std::uint32_t position) const;
  /// Returns the position of that flat name, or core::NameIndex::none.
  [[nodiscard]] std::uint32_t find(std::string_view name) const noexcept;
  /// Returns the catalog of a shard, or of `params`.
  [[nodiscard]] const format::Catalog& catalog(std::uint32_t shard) const noexcept {
    return shard == of_params ? *params->catalog : *shards[shard]->catalog;
  }

  /// Returns true if every shard is PyTorch's, whose modules leave lists with gaps.
  [[nodiscard]] bool is_pytorch() const noexcept;
  /// Fills `names` from `entries`, unless they are set.
  void list_names();
  /// Fills `names` and `index` from `entries`. Throws Error{ambiguous} for a repeated name, Error{limit_exceeded}.
  void index_names();
  /// Fills `infos` from `shards` and `entries`.
  void describe_shards();
  /// Adds the catalogs' notes, and one about names of too many parts.
  void collect_notes();

  /// Return the tree of names, and that of the metadata; defined in tree_build.cpp, because a tree needs the state.
  [[nodiscard]] const Tree& tree() const;
  [[nodiscard]] const Tree& metadata() const;
  [[nodiscard]] std::uint64_t table_bytes() const noexcept;
  /// Adds `bytes` of tables that a tree has made after it was built to table_bytes().
  void account(std::uint64_t bytes) const noexcept { tree_bytes_ += bytes; }

 private:
  void note_long_paths();
  void prefetch_entry(std::uint32_t position) const noexcept;
  [[nodiscard]] std::string note_of_no_tensors() const;

  core::MetadataCharge tables_bytes_;
  mutable std::atomic<std::uint64_t> tree_bytes_ = 0;
  mutable core::Once tree_once_;
  mutable core::Once metadata_once_;
  mutable std::shared_ptr<const Tree> tree_;
  mutable std::shared_ptr<const Tree> metadata_;
};

/// Access to Checkpoint's private members.
struct StateAccess {
  static const std::shared_ptr<const State>& state(const Checkpoint& checkpoint) noexcept { return checkpoint.state_; }
  static Checkpoint checkpoint(std::shared_ptr<const State> state) noexcept { return Checkpoint(std::move(state)); }
};

}  // namespace heft::record
