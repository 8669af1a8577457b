// record/join.hpp: views of tensors whose elements lie in several byte ranges of a file.
#pragma once

#include "heft/tensor_view.hpp"
#include "record/shard.hpp"

namespace heft::record {

/// Returns a view of pieces for one of the shard's Catalog::joined. Each range is cut into as few boxes as possible (at
/// most two for each dim), because it can start and end in the middle of a row.
TensorView join_runs(const Shard& shard, const format::Joined& joined);

}  // namespace heft::record
