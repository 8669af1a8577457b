// record/index.hpp: the tensors of a sharded model as its index declares them.
#pragma once

#include <cstdint>
#include <vector>

#include "record/state.hpp"

namespace heft::record {

/// Fills the table of `state` with the tensors that `index` names; `numbers` gives, for each name in the index's list of files, its place
/// among the state's shards. A tensor that the shard which the index names does not have is taken from the one that has it. Notes: such
/// tensors, those that no shard has (which State::absent keeps), those that several have, those that the index does not name, and a
/// total_size that is not so.
///
/// Throws Error{ambiguous} for a tensor that several shards have, but not the one that the index names; Error{corrupt} when no shard has
/// any.
void merge_index(State& state, const Shard& index, const std::vector<std::uint32_t>& numbers);

}  // namespace heft::record
