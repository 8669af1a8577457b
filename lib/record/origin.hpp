// record/origin.hpp: the paths that a checkpoint was opened from, and their current state.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "heft/checkpoint.hpp"
#include "heft/source.hpp"
#include "heft/storage.hpp"
#include "mmap/file.hpp"

namespace heft::record {

/// A path that open() used, and the identity that it found: of a folder, an index, a shard; or a name in a Storage of
/// the caller's.
struct Origin {
  std::string path;
  mmap::Identity identity = {};                      ///< Of a path on disk.
  std::shared_ptr<const Storage> storage = nullptr;  ///< Null: a path on disk.
  std::string name = {};                             ///< In `storage`.
  SourceIdentity found = {};                         ///< Of the source in `storage`.
};

/// Compares the file now at the path with the opened one. Of a folder, only the identity is compared; of a source
/// without an identity, nothing. Throws Error{io}, and what the Storage throws.
[[nodiscard]] Freshness freshness_of(const Origin& origin);

/// Returns the worst result of all origins.
[[nodiscard]] Freshness freshness_of(std::span<const Origin> origins);

/// Throws Error{changed_on_disk} if one of several files has been replaced: the opened ones can be parts of the old
/// model and of the new one. A single file is consistent even if its path now leads to another.
void require_one_model(std::span<const Origin> origins);

}  // namespace heft::record
