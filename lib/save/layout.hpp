// save/layout.hpp: the written formats: which one a path selects, and which of a checkpoint's metadata each keeps.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "format/file_plan.hpp"
#include "heft/save.hpp"

namespace heft::writer {

/// The target that a path and SaveOptions select.
struct SaveTarget {
  std::filesystem::path path;  ///< Of the single file; the name of an index is this plus ".index.json".
  SaveFormat format = SaveFormat::safetensors;
  bool indexed = false;  ///< Write shards and an index even when one file is enough.
};

/// Throws Error{unsupported} for a path that names no format, and for shards in a format without shards.
SaveTarget target_of(const std::filesystem::path& path, const SaveOptions& options);

/// Plans a file of the declared tensors, with metadata chosen by layout_of().
using SaveLayout = std::function<format::FilePlan(std::span<const format::TensorSpec>)>;

/// Returns the layout of files in `format`. Adds a note for values of SaveOptions::keep_metadata that the format cannot
/// hold. Throws Error{unsupported} for pairs of SaveOptions::metadata that it cannot hold.
SaveLayout layout_of(SaveFormat format, std::span<const SaveItem> items, const SaveOptions& options,
                     std::vector<std::string>& notes);

}  // namespace heft::writer
