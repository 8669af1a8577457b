// save/payloads.hpp: writing of tensors' bytes into a file, in bounded memory.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "format/file_plan.hpp"
#include "heft/save.hpp"
#include "mmap/scratch_file.hpp"

namespace heft::writer {

/// Is called on the calling thread with the bytes written since the last call.
using Written = std::function<void(std::uint64_t bytes)>;

/// Writes all of `file`: texts, payloads, and the texts that its finish() returns. The calling thread writes, while
/// workers read and convert what comes next. `items` are those from which the specs of the file plan were made. Throws
/// Error{cancelled}, and as materialize() and ScratchFile.
void write_file(mmap::ScratchFile& into, const format::FilePlan& file, std::span<const SaveItem> items,
                const SaveOptions& options, const Written& written);

}  // namespace heft::writer
