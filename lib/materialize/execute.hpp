// materialize/execute.hpp: a whole plan, or a part of one, from its first byte to its tensors.
#pragma once

#include <cstdint>
#include <span>

#include "heft/materialize.hpp"

namespace heft::engine {

struct Shared;

/// Runs materialize(plan, options), alone or as one of several loads that share memory. Throws as materialize().
Weights execute(const LoadPlan& plan, const MaterializeOptions& options, const Shared& shared);

/// A plan of those of `plan`'s entries, in that order.
LoadPlan select(const LoadPlan& plan, std::span<const std::uint32_t> entries);

/// Adds what one load did to what others did: sums, but for `threads` and the peaks, of which the larger one counts.
void add_stats(LoadStats& sum, const LoadStats& load);

}  // namespace heft::engine
