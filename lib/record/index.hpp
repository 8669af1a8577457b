// record/index.hpp: the tensors of a sharded model as its index declares them.
#pragma once

#include <cstdint>
#include <vector>

#include "record/state.hpp"

namespace heft::record {

/// Fills the table of `state` with exactly the tensors that `index` names, each from the shard it names; `numbers` gives, for each name in
/// the index's list of files, its place among the state's shards. Throws Error{corrupt} for a tensor that its shard does not have.
/// What the shards hold beyond the index, and a total_size that is not so, become notes.
void merge_index(State& state, const Shard& index, const std::vector<std::uint32_t>& numbers);

}  // namespace heft::record
