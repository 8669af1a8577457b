// save/shards.hpp: decisions before a save: which tensors share a file, and the names of the files.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "heft/save.hpp"
#include "mmap/file.hpp"

namespace heft::writer {

/// Returns consecutive items in groups of at most `max_bytes` as written (0: one group). A larger item is a group
/// alone. Returns at least one group.
std::vector<std::span<const SaveItem>> groups_of(std::span<const SaveItem> items, std::uint64_t max_bytes);

/// Names of a checkpoint's files in their folder.
struct SaveNames {
  std::string single;  ///< The requested name.
  std::string index;
  std::vector<std::string> shards;  ///< None of them exists yet.
};

/// Returns names for `count` shards of `name` ("model.safetensors"), none of which exists in the folder.
SaveNames shard_names(const mmap::Folder& folder, const std::string& name, std::size_t count);

/// The existing index of `name`, and those of its shards that no other index of the folder names. They can be removed
/// when `name` has been written again.
struct OldShards {
  std::string index;                ///< Empty: there is none.
  std::vector<std::string> shards;  ///< Without `name` itself. Empty if an index of the folder cannot be read.
};

/// Returns the old index and shards of `name` ("model.safetensors").
OldShards old_shards(const mmap::Folder& folder, const std::string& name);

/// Returns {name, name of the first item that views the same bytes in the same layout} for each item after the first.
std::vector<std::pair<std::string, std::string>> tied_items(std::span<const SaveItem> items);

/// Throws as LoadPlan::add() for an item that cannot be materialized as its dtype.
void require_convertible(std::span<const SaveItem> items);

}  // namespace heft::writer
