// bench/scenarios/grow.hpp: the generated checkpoints and the tables of the scenario `grow`.
#pragma once

#include <cstdint>
#include <vector>

#include "maker/model.hpp"
#include "scenarios/scenarios.hpp"

namespace bench {

/// Llama of 0.1 GB, 0.4 GB, ... up to `max_bytes`; then 0.4 GB cut into 10, 100, ... 100,000 tensors.
std::vector<Recipe> growing_recipes(std::uint64_t max_bytes);

/// Returns tables for one checkpoint with 1, 2, 4 ... threads.
std::vector<Table> grow_tables(const Target& target, const Settings& settings);

}  // namespace bench
