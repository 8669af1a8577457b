// record/tiling.hpp: whether boxes fill a box, each element once.
#pragma once

#include <span>

#include "heft/tensor_view.hpp"

namespace heft::record {

/// True when the pieces, which lie inside `shape`, cover each of its elements exactly once. None of them is empty.
///
/// n log n in the number of pieces, in any number of dims that are cut.
bool tile_exactly(const Shape& shape, std::span<const Piece> pieces);

}  // namespace heft::record
