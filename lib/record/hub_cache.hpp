// record/hub_cache.hpp: finds models in the cache of huggingface_hub.
//
//   <cache>/models--<organization>--<name>/
//     refs/<branch>               the commit of the revision, as text
//     snapshots/<commit>/...      symlinks into blobs
//     blobs/<hash>
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "mmap/file.hpp"
#include "record/state.hpp"

namespace heft::record {

/// Returns the snapshot of a model's folder in the cache: that of refs/main, or else the only one. Returns nothing if
/// `folder` is not such a folder. Adds the choice among several to the notes of `state`, and refs/main to its origins.
///
/// Throws Error{not_found} if there is no snapshot or that of refs/main is missing; Error{ambiguous} with the list of
/// several; Error{refused} if refs/main leads out of the folder.
std::optional<std::string> snapshot_of(const mmap::Folder& folder, State& state);

/// Returns the blob for a file of a snapshot that contains the text of a symlink, "../../blobs/<hash>", as a copy
/// without symlinks leaves it, and adds a note. Returns any other file unchanged. Throws Error{not_found} if the blob
/// is missing, Error{refused} if symlinks must not be followed.
std::shared_ptr<const Source> followed(std::shared_ptr<const Source> file, mmap::Symlinks symlinks, State& state);

/// Returns the folder in the cache of the model with the hub's name `path`, "organization/name"; nothing if `path` is
/// not such a name or the cache does not have the model.
std::optional<std::string> cached_model(const std::filesystem::path& cache, std::string_view path);
/// Returns true for text that can be a model's name on the hub.
bool is_hub_name(std::string_view path) noexcept;

}  // namespace heft::record
