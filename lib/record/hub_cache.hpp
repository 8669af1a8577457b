// record/hub_cache.hpp: the cache of huggingface_hub.
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

/// The snapshot that a model's folder in the cache stands for: that of refs/main, without it the only one. Nothing when `folder` is no such
/// folder. Adds to the notes of `state` which of several was taken, and refs/main to its origins.
///
/// Throws Error{not_found} when there is no snapshot, or that of refs/main is not there; Error{ambiguous} listing several;
/// Error{refused} when refs/main leads out of the folder.
std::optional<std::string> snapshot_of(const mmap::Folder& folder, State& state);

/// A snapshot's file that a copy without symlinks turned into the symlink's text, "../../blobs/<hash>": the blob that it names, with a note.
/// Any other file as it is. Throws Error{not_found} when the blob is not there, Error{refused} when symlinks shall not be followed.
std::shared_ptr<const mmap::File> followed(std::shared_ptr<const mmap::File> file, mmap::Symlinks symlinks, State& state);

/// Where the cache keeps the model that `path` names as the hub does, "organization/name". Nothing when it names none, or the cache has not
/// got it.
std::optional<std::string> cached_model(const std::filesystem::path& cache, std::string_view path);
/// True for text that may be a model's name on the hub.
bool is_hub_name(std::string_view path) noexcept;

}  // namespace heft::record
