// record/meta.hpp: merges Meta's checkpoints: params.json and consolidated.NN.pth, a file for each rank of tensor
// parallelism.
#pragma once

#include "record/shard.hpp"
#include "record/state.hpp"

namespace heft::record {

/// Fills the table of `state`, whose shards are the parts by rank, with whole tensors: views of pieces along the dim
/// that `params` and the parts' shapes imply; replicated tensors are those of the first part. Payload is neither
/// compared nor permuted (wq and wk keep Meta's order of rotary pairs). A tensor without a rule is listed for each
/// part, as "consolidated.NN.<name>", with a note. Throws Error{corrupt} if parts differ in names, dtypes or shapes, or
/// do not make a whole.
void merge_meta(State& state, const Shard& params);

/// Reads params.json. Throws the errors of the JSON reader, with the path.
std::shared_ptr<const Shard> open_params(std::shared_ptr<const Source> file, const OpenOptions& options,
                                         const std::shared_ptr<core::MetadataBudget>& budget);

}  // namespace heft::record
