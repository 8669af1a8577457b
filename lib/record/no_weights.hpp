// record/no_weights.hpp: errors for a folder without weights.
#pragma once

#include <span>
#include <string>

#include "record/directory.hpp"

namespace heft::record {

/// Throws Error{not_found} with the contents of the folder and advice: broken symlinks (`broken`), unfinished
/// downloads, a DeepSpeed checkpoint, folders with weights, files of a trainer. `names` are all names of the folder,
/// sorted.
[[noreturn]] void fail_no_weights(const Directory& folder, std::span<const std::string> names,
                                  std::span<const std::string> broken);

/// Throws Error{unsupported} for a folder with pieces of a DeepSpeed checkpoint.
[[noreturn]] void fail_scattered(const Directory& folder);

}  // namespace heft::record
