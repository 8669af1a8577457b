// record/tiling.hpp: checks that boxes cover a box, each element once.
#pragma once

#include <span>

#include "heft/tensor_view.hpp"

namespace heft::record {

/// Returns true if the pieces cover each element of `shape` exactly once. Requires pieces that lie inside `shape` and
/// are not empty. Takes O(n log n) for n pieces, for any number of cut dims.
bool tile_exactly(const Shape& shape, std::span<const Piece> pieces);

}  // namespace heft::record
