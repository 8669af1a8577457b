// record/no_weights.hpp: what to say of a folder that holds no weights.
#pragma once

#include <span>
#include <string>

#include "mmap/file.hpp"

namespace heft::record {

/// Throws Error{not_found} with what the folder holds instead and what to do: symlinks to nothing (`broken`), downloads that are not finished,
/// a DeepSpeed checkpoint, folders that hold weights themselves, files of a trainer. `names` are all of the folder's, sorted.
[[noreturn]] void fail_no_weights(const mmap::Folder& folder, std::span<const std::string> names, std::span<const std::string> broken);

/// Throws Error{unsupported} for a folder with pieces of a DeepSpeed checkpoint.
[[noreturn]] void fail_scattered(const mmap::Folder& folder);

}  // namespace heft::record
