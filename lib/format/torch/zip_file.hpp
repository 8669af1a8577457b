// format/torch/zip_file.hpp: reader of torch.save zips inside another file. Separate files are read through the
// format's descriptor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/input.hpp"
#include "format/catalog.hpp"
#include "format/format.hpp"

namespace heft::format {

/// The place of a zip in the outer file, and the name of its object.
struct TorchZipPlace {
  std::uint64_t begin = 0;  ///< Added to all offsets in the Catalog.
  /// Name of the object, added before the names in it, with a dot. Empty: a separate file.
  std::string_view name = {};
};

/// Returns true if the first bytes are those of a zip whose first record is not a NumPy array.
bool torch_zip_format_matches(std::span<const std::byte> head) noexcept;

/// Adds the contents of the zip to `into`. The caller sorts the catalog, checks names and sets the format. Throws as
/// the format's read().
void read_torch_zip(const core::Input& input, const ReadOptions& options, const TorchZipPlace& place, Catalog& into);

}  // namespace heft::format
