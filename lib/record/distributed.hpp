// record/distributed.hpp: opens the tensors and values of a distributed checkpoint from its index.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "heft/checkpoint.hpp"
#include "record/state.hpp"

namespace heft::record {

/// Fills the shards and the table of `state`: a shard for each of `files`, with the chunks that `index` (tiled, tiles
/// and embedded of its catalog) places in it. A tensor of one chunk is that chunk, one of several is a view of pieces.
/// `numbers` contains, for each file that the index names, its position in `files`. Only the heads of chunks are read,
/// several files at a time.
///
/// Throws Error{corrupt} with path, tensor and offset for a chunk that differs from its declaration, and for chunks
/// that overlap or leave a gap.
void open_distributed(State& state, const std::shared_ptr<const Shard>& index,
                      std::span<const std::shared_ptr<const Source>> files, const std::vector<std::uint32_t>& numbers,
                      const OpenOptions& options);

}  // namespace heft::record
