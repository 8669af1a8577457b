// materialize/sink/host_sink.hpp: fetched bytes of a chunk on their way to where they belong.
#pragma once

#include <cstddef>

#include "materialize/pipeline.hpp"

namespace heft::engine {

/// Puts what `bytes` hold, which are `range` of the chunk's source, where it belongs, and reports progress. `range` may be a part of a plain chunk;
/// of any other it holds all.
void land(Load& load, const Chunk& chunk, Range range, const std::byte* bytes);

}  // namespace heft::engine
