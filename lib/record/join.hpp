// record/join.hpp: tensors that a file holds in runs of their elements, as views made of pieces.
#pragma once

#include "heft/tensor_view.hpp"
#include "record/shard.hpp"

namespace heft::record {

/// One of the shard's Catalog::joined. Each run is cut into as few boxes as it takes (at most two for each dim): a run
/// may begin and end in the middle of a row.
TensorView join_runs(const Shard& shard, const format::Joined& joined);

}  // namespace heft::record
