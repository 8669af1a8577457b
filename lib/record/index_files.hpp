// record/index_files.hpp: which files an index stands for, and what lies beside it.
#pragma once

#include <string>
#include <vector>

#include "mmap/file.hpp"
#include "record/shard.hpp"

namespace heft::record {

/// The files of the model that an index describes.
struct IndexFiles {
  std::vector<std::string> names;    ///< Plain names: as the index lists them, or a set of numbered parts in their order.
  std::vector<std::string> unnamed;  ///< Weights beside them, of the same ending, that are none of them; sorted.
  bool is_listed = true;             ///< The system lists the folder; where it does not, `unnamed` is empty.
  bool is_stale = false;             ///< None of the files that the index names is there, `names` is the one complete set that is.
};

/// Throws Error{refused} for a name that leads out of the folder; Error{corrupt} for an index without tensors; Error{not_found} that counts
/// and lists the files that are missing, unless all are and one complete set of numbered parts is there.
IndexFiles files_of_index(const mmap::Folder& folder, const Shard& index);

}  // namespace heft::record
