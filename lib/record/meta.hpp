// record/meta.hpp: Meta's checkpoints: params.json and consolidated.NN.pth, one file for each rank of tensor parallelism.
#pragma once

#include "record/shard.hpp"
#include "record/state.hpp"

namespace heft::record {

/// Fills the table of `state`, whose shards are the parts in the order of their ranks, with whole tensors: views of pieces along the dim that
/// `params` and the parts' shapes imply; replicated ones are those of the first part. Payload is neither compared nor permuted (wq and wk keep
/// Meta's order of rotary pairs). A tensor that no rule knows is listed once for each part, as "consolidated.NN.<name>", with a note.
/// Throws Error{corrupt} when parts differ in names, dtypes or shapes, or fit no whole.
void merge_meta(State& state, const Shard& params);

/// Reads params.json. Throws what JSON throws, with the path.
std::shared_ptr<const Shard> open_params(std::shared_ptr<const mmap::File> file, const OpenOptions& options,
                                         const std::shared_ptr<core::MetadataBudget>& budget);

}  // namespace heft::record
