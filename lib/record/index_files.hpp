// record/index_files.hpp: finds the files of an index, and other weights beside it.
#pragma once

#include <string>
#include <vector>

#include "record/directory.hpp"
#include "record/shard.hpp"

namespace heft::record {

/// The files of the model that an index describes.
struct IndexFiles {
  /// Plain names: as the index lists them, or a set of numbered parts in their order.
  std::vector<std::string> names;
  std::vector<std::string> unnamed;  ///< Weights beside them, of the same ending, that are none of them; sorted.
  bool is_listed = true;             ///< The system lists the folder; where it does not, `unnamed` is empty.
  /// None of the files that the index names is there, `names` is the one complete set that is.
  bool is_stale = false;
};

/// Returns the files of `index`. Throws Error{refused} for a name that leads out of the folder; Error{corrupt} for an
/// index without tensors; Error{not_found} with the number and names of missing files, unless all are missing and there
/// is one complete set of numbered parts.
IndexFiles files_of_index(const Directory& folder, const Shard& index);

}  // namespace heft::record
