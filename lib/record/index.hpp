// record/index.hpp: merges the tensors of the shards of a model by its index.
#pragma once

#include <cstdint>
#include <vector>

#include "record/state.hpp"

namespace heft::record {

/// Fills the table of `state` with the tensors that `index` names. `numbers` contains, for each file of the index, its
/// position among the state's shards. A tensor that is missing in its declared shard is taken from the one that has it.
/// Adds notes for such tensors, for those that no shard has (also in State::absent), for those that several have, for
/// those that the index does not name, and for a wrong total_size.
///
/// Throws Error{ambiguous} for a tensor that several shards have, but not the declared one; Error{corrupt} if no shard
/// has any of the tensors.
void merge_index(State& state, const Shard& index, const std::vector<std::uint32_t>& numbers);

}  // namespace heft::record
