// record/distributed.hpp: the tensors and values of a distributed checkpoint as its index declares them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "heft/checkpoint.hpp"
#include "mmap/file.hpp"
#include "record/state.hpp"

namespace heft::record {

/// Fills the shards and the table of `state`: a shard for each of `files`, with the chunks that `index` (its catalog's
/// tiled, tiles and embedded) places in it; a tensor of one chunk is that chunk, one of several is a view of pieces.
/// `numbers` gives, for each file that the index names, its place in `files`. Chunks are read, several files at a time,
/// as far as their heads: the cost is linear in their number.
///
/// Throws Error{corrupt} with path, tensor and offset for a chunk that is not what the index declares, and for chunks that
/// overlap or leave a hole.
void open_distributed(State& state, const std::shared_ptr<const Shard>& index,
                      std::span<const std::shared_ptr<const mmap::File>> files,
                      const std::vector<std::uint32_t>& numbers, const OpenOptions& options);

}  // namespace heft::record
