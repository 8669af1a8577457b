// bench/scenarios/lists.hpp: records whose tensors are lists of numbers, beside the same tensors stored as bytes.
#pragma once

#include <vector>

#include "scenarios/scenarios.hpp"

namespace bench {

/// The same tensors twice.
struct ListTargets {
  Target lists;  ///< .mpk or .mpk.gz
  Target bytes;  ///< .safetensors
};

/// Opening, and loading into fresh memory, in each state of the page cache that the settings ask for.
std::vector<Table> list_tables(const ListTargets& targets, const Settings& settings);

}  // namespace bench
