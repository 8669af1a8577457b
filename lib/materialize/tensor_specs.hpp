// materialize/tensor_specs.hpp: the tensors of a plan that a destination allocates, as it is shown them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heft/destination.hpp"
#include "materialize/plan_entry.hpp"
#include "materialize/transfer.hpp"

namespace heft::engine {

/// Throws Error{out_of_range} unless `alignment` is a power of two.
void require_alignment(std::uint64_t alignment);

/// Returns the TensorSpec of an entry, which it refers to. `transfers` are the entry's, of `all`; `alignment` is a
/// power of two.
TensorSpec tensor_spec(const PlanEntry& entry, std::span<const Transfer> transfers, const Transfers& all,
                       std::uint64_t alignment);

/// Returns a TensorSpec for each entry without a buffer of the caller, in their order; they refer to the entries.
/// `alignment`, a power of two, applies to each. Throws Error{out_of_memory} when the sum of the sizes does not fit 62
/// bits.
std::vector<TensorSpec> tensor_specs(const PlanEntries& entries, const Transfers& all, std::uint64_t alignment);

}  // namespace heft::engine
