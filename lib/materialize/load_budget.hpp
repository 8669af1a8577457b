// materialize/load_budget.hpp: computes the budget of a load before it starts.
#pragma once

#include <cstdint>
#include <vector>

#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "materialize/budget.hpp"
#include "materialize/schedule.hpp"

namespace heft::engine {

/// The tensors that a load with these options allocates memory for, as its destination is shown them: they refer to the
/// plan. Throws Error{out_of_range} for an alignment, of the options or of the destination, that is no power of two,
/// Error{out_of_memory} when the sum does not fit 62 bits.
std::vector<TensorSpec> specs_for(const LoadPlan& plan, const MaterializeOptions& options,
                                  const Destination::Requirements& requirements);

/// Asks the destination, unless the plan keeps the budget of an earlier call with the same options. Throws
/// Error{out_of_range} for options and requirements that make no sense, and as specs_for().
Budget budget_for(const LoadPlan& plan, const MaterializeOptions& options);

/// For errors about a plan as a whole: the file of its first tensor, and the tensor where there is one only.
ErrorPlace place_of(const LoadPlan& plan);

/// The budget of a load that begins now: that of budget_for(), with less staging and fewer threads where the memory
/// that is left asks for it. Throws Error{out_of_memory} for what does not fit all the same, unless
/// options.check_memory is off.
Budget affordable_budget(const LoadPlan& plan, const MaterializeOptions& options);
/// The same for another schedule of the plan, whose entries are in arenas that take `arena_bytes` at once.
Budget affordable_budget(const LoadPlan& plan, const Schedule& schedule, std::uint64_t arena_bytes,
                         const MaterializeOptions& options);

}  // namespace heft::engine
