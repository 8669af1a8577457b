// save/layout.hpp: the format that a path selects.
#pragma once

#include <filesystem>

#include "format/format.hpp"
#include "heft/save.hpp"

namespace heft::writer {

/// The target that a path and SaveOptions select.
struct SaveTarget {
  std::filesystem::path path;              ///< Of the single file; the name of an index is this plus ".index.json".
  const format::Format* format = nullptr;  ///< Has a writer.
  bool indexed = false;                    ///< Write shards and an index even when one file is enough.
};

/// Throws Error{unsupported} for a path that names no written format, for a format that heft does not write, and for
/// shards in a format without an index.
SaveTarget target_of(const std::filesystem::path& path, const SaveOptions& options);

}  // namespace heft::writer
