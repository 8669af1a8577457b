// save/shards.hpp: the formats that are written: which one a path asks for, and what of a checkpoint's
// metadata each keeps.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "format/file_plan.hpp"
#include "heft/save.hpp"

namespace heft::engine {

/// What a path and SaveOptions ask for.
struct SaveTarget {
  std::filesystem::path path;  ///< Of the single file; an index is called as it and ".index.json".
  SaveFormat format = SaveFormat::safetensors;
  bool indexed = false;  ///< Written as shards and an index even when one file holds all.
};

/// Throws Error{unsupported} for a path that says no format, and for shards in a format that has none.
SaveTarget target_of(const std::filesystem::path& path, const SaveOptions& options);

/// Plans a file of the tensors declared; its metadata are settled.
using SaveLayout = std::function<format::Blueprint(std::span<const format::Declaration>)>;

/// The layout of files in `format`. What it cannot keep of SaveOptions::keep_metadata becomes a note;
/// Error{unsupported} for pairs of SaveOptions::metadata that the format cannot hold.
SaveLayout layout_of(SaveFormat format, std::span<const SaveItem> items, const SaveOptions& options,
                     std::vector<std::string>& notes);

}  // namespace heft::engine
