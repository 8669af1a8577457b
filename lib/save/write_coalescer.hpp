// save/write_coalescer.hpp: what saving decides before anything is written: which tensors share a file and what files
// are called.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "heft/save.hpp"
#include "mmap/file.hpp"

namespace heft::engine {

/// Neighbouring items in groups of at most `most_bytes` as written (0: one group); an item larger than that is a group
/// of its own. At least one group.
std::vector<std::span<const SaveItem>> groups_of(std::span<const SaveItem> items, std::uint64_t most_bytes);

/// Names of a checkpoint's files in their folder.
struct SaveNames {
  std::string single;               ///< The name asked for.
  std::string index;
  std::vector<std::string> shards;  ///< None of them is there yet.
};

/// Names for `count` shards of `name` ("model.safetensors"), none of which exists in the folder.
SaveNames shard_names(const mmap::Folder& folder, const std::string& name, std::size_t count);

/// An index that is there for `name`, and the shards that no other index of the folder names: of no use once `name` is written anew.
struct OldShards {
  std::string index;                ///< Empty: there is none.
  std::vector<std::string> shards;  ///< Not `name` itself. Empty too where an index of the folder cannot be read.
};

/// What of `name` ("model.safetensors") an index describes now.
OldShards old_shards(const mmap::Folder& folder, const std::string& name);

/// {name, name of the first item that views the same bytes in the same layout}, for each item that is not the first.
std::vector<std::pair<std::string, std::string>> tied_items(std::span<const SaveItem> items);

/// Throws what LoadPlan::add() does for an item that cannot be materialized as its dtype.
void require_convertible(std::span<const SaveItem> items);

}  // namespace heft::engine
