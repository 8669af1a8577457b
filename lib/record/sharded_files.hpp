// record/sharded_files.hpp: safetensors files with pieces of tensors, one or more files for each rank, as saved by the
// HuggingFaceStorageWriter of torch.distributed.checkpoint:
//
//   shard-00001-model-00001-of-00002.safetensors      of rank 1, counted from 1: its pieces for file 1 of 2
//   shard-00001-model-00002-of-00002.safetensors
//   shard-00002-model-00001-of-00002.safetensors
//
// No file contains the number of ranks or the sizes of the tensors: the size of a tensor is the extent of its pieces,
// as in PyTorch's reader.
#pragma once

#include <string>
#include <string_view>

#include "heft/checkpoint.hpp"
#include "record/state.hpp"

namespace heft::record {

/// Returns true for a name of that pattern.
bool is_rank_file(std::string_view name) noexcept;

/// Fills the table of `state` from its shards, which are all files of the ranks. A tensor of one piece is that piece,
/// one of several is a view of pieces.
///
/// Throws Error{corrupt} with path and tensor for a file without places for its tensors, and for pieces that overlap,
/// leave a gap, or have different dtypes.
void assemble_sharded_files(State& state);

/// Returns a note about the pieces of a single opened file; empty if all of its tensors are whole.
std::string note_of_pieces(const Shard& shard, const Limits& limits);

}  // namespace heft::record
