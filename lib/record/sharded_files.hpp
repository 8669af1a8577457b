// record/sharded_files.hpp: safetensors files that hold pieces of tensors, one file or more for each rank, as the
// HuggingFaceStorageWriter of torch.distributed.checkpoint saves them:
//
//   shard-00001-model-00001-of-00002.safetensors      of rank 1, counted from 1: its pieces for file 1 of 2
//   shard-00001-model-00002-of-00002.safetensors
//   shard-00002-model-00001-of-00002.safetensors
//
// No file says how many ranks there were, nor how large the tensors are: each is as large as its pieces reach, as
// PyTorch's own reader takes it.
#pragma once

#include <string>
#include <string_view>

#include "heft/checkpoint.hpp"
#include "record/state.hpp"

namespace heft::record {

/// True for a name of that pattern.
bool is_rank_file(std::string_view name) noexcept;

/// Fills the table of `state` from its shards, which are all files of the ranks: a tensor of one piece is that piece, one
/// of several is a view of pieces.
///
/// Throws Error{corrupt} with path and tensor for a file without places for its tensors, and for pieces that overlap, leave
/// a hole, or are of two dtypes.
void assemble_sharded_files(State& state);

/// What of one file that was opened by itself are pieces; empty where all of it is whole.
std::string note_of_pieces(const Shard& shard, const Limits& limits);

}  // namespace heft::record
