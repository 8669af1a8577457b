// materialize/sink/strided_copy.hpp: copies and converts fetched bytes to the places of their elements.
#pragma once

#include <cstddef>
#include <cstdint>

#include "materialize/schedule.hpp"

namespace heft::engine {

/// Writes the units of a part. `from` is the first unit's byte in memory, `to` its place; both sides have the strides
/// of `axes`, of which the first counts `count`. The last axis is the one along which the source runs.
void copy_part(const Conversion& conversion, std::span<const Axis> axes, std::int64_t count, const std::byte* from,
               std::byte* to, Store store) noexcept;

}  // namespace heft::engine
