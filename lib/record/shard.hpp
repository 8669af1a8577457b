// record/shard.hpp: one opened file of a checkpoint: its format, its catalog, and the sources of its payload.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/catalog.hpp"
#include "format/format.hpp"
#include "heft/checkpoint.hpp"
#include "heft/tensor_view.hpp"
#include "record/source.hpp"

namespace heft::record {

/// Immutable once made.
struct Shard {
  std::shared_ptr<const Source> file;  ///< As it was opened, to read headers from: never mapped.
  std::shared_ptr<const format::Catalog> catalog;
  std::shared_ptr<const Source> source;                ///< Its payload, which views keep.
  std::vector<std::shared_ptr<const Source>> members;  ///< Parallel to Catalog::members.

  /// Returns a view of one of the catalog's tensors. Does not allocate up to rank 6.
  [[nodiscard]] TensorView view(const format::TensorEntry& entry) const;
};

/// Returns the format of the file by its first bytes; null if it is unknown. Throws Error{io}.
const format::Format* recognize(const Source& file);

/// Calls `read`, which reads the headers of `file`, and adds the file's path to its errors. Throws
/// Error{changed_on_disk} if the file changed before the last header was read.
format::Catalog read_as_it_is(const Source& file, const std::function<format::Catalog()>& read);

/// Makes the shard of a file from its catalog, and maps the file if the options say so.
std::shared_ptr<const Shard> make_shard(std::shared_ptr<const Source> file, format::Catalog catalog,
                                        const OpenOptions& options);

/// Reads the file's headers into private copies, and maps the file if the options say so; payload is not read. Charges
/// the catalog to `budget`, which all files of a checkpoint share. Throws the errors of formats, with the path;
/// Error{unrecognized}; Error{changed_on_disk} if the file changed before the last header was read.
std::shared_ptr<const Shard> open_shard(std::shared_ptr<const Source> file, const OpenOptions& options,
                                        const std::shared_ptr<core::MetadataBudget>& budget);

}  // namespace heft::record
