// bench/scenarios/lists.hpp: the scenario `lists`: tensors as lists of numbers, compared with the same tensors as
// bytes.
#pragma once

#include <vector>

#include "scenarios/scenarios.hpp"

namespace bench {

/// The same tensors twice.
struct ListTargets {
  Target lists;  ///< .mpk or .mpk.gz
  Target bytes;  ///< .safetensors
};

/// Returns tables of opening, and of loading into fresh memory, for each state of the page cache in the settings.
std::vector<Table> list_tables(const ListTargets& targets, const Settings& settings);

}  // namespace bench
