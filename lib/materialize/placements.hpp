// materialize/placements.hpp: checks the places that a destination returned, before the first byte is read.
#pragma once

#include <memory>
#include <span>

#include "heft/destination.hpp"

namespace heft::engine {

/// Returns destination.allocate(tensors), if its places are what Destination::allocate() promises. Throws the errors
/// that are listed there, with the name of the tensor.
std::unique_ptr<Allocation> allocate_checked(const Destination& destination, Destination::Kind kind,
                                             std::span<const TensorSpec> tensors);

}  // namespace heft::engine
