// bench/scenarios/small.hpp: the generated checkpoints and the tables of the scenario `small`.
#pragma once

#include <cstdint>

#include "maker/model.hpp"
#include "scenarios/scenarios.hpp"

namespace bench {

/// Returns the checkpoint from which `loads` tensors of `bytes` are loaded: it has more of them, for their places to be
/// far apart, but not more than 256 MiB besides.
Recipe small_recipe(std::uint64_t bytes, unsigned loads);

/// Returns a table for each state of the page cache, whose times are those of one load.
std::vector<Table> small_tables(const Target& target, const Settings& settings, std::uint64_t bytes, unsigned loads);

}  // namespace bench
