// save/metadata.hpp: a checkpoint's metadata in the form that writers of formats take.
#pragma once

#include <span>

#include "format/writer.hpp"
#include "heft/save.hpp"

namespace heft::writer {

/// Returns SaveOptions::keep_metadata and SaveOptions::metadata. Borrows both.
format::MetadataToWrite metadata_of(std::span<const SaveItem> items, const SaveOptions& options);

}  // namespace heft::writer
