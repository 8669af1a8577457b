// format/numpy/npz_writer.hpp: the plan of an NPZ file.
#pragma once

#include <span>

#include "format/writer.hpp"

namespace heft::format {

/// The writer of NPZ.
extern const Writer npz_writer;

/// Returns the plan of a file that holds `tensors`: members without compression, in the given order, with elements at
/// multiples of 64. Requires at least one tensor: an empty zip does not show that it is an NPZ file. Throws as
/// FileLayout does.
FilePlan npz_file_plan(std::span<const TensorDeclaration> tensors, const Limits& limits = {});

}  // namespace heft::format
