// format/torch/zip_file.hpp: zip files of torch.save that are a part of something else. Files by themselves are read through
// the format's descriptor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/input.hpp"
#include "format/catalog.hpp"
#include "format/format.hpp"

namespace heft::format {

/// Where a zip lies in the file that is listed, and what its object is called there.
struct TorchZipPlace {
  std::uint64_t begin = 0;     ///< Added to all offsets that go into the Catalog.
  std::string_view name = {};  ///< Of the object; goes before the names in it, with a dot. Empty: a file by itself.
};

/// Cheap and sure: the first bytes are those of a zip whose first record is no array.
bool torch_zip_format_matches(std::span<const std::byte> head) noexcept;

/// Adds what the zip holds to `into`, whose order, names and format stay the caller's. Throws as the format's read().
void read_torch_zip(const core::Input& input, const ReadOptions& options, const TorchZipPlace& place, Catalog& into);

}  // namespace heft::format
