// heft/limits.hpp: every bound that heft puts on what a file may declare, in one place.
#pragma once

#include <cstdint>

namespace heft {

/// Counts, depths and sizes beyond which a file is refused with Error{limit_exceeded}, which names the limit, its value and what was found.
///
/// The defaults fit every published model with room to spare; raise one for a file you trust.
struct Limits {
  /// Tensors of one checkpoint.
  std::uint64_t tensors = 4u << 20;
  /// Dims of one tensor.
  std::uint64_t rank = 32;
  /// Bytes of one tensor or record name.
  std::uint64_t name_bytes = 64u << 10;
  /// Files of one checkpoint.
  std::uint64_t shards = 64u << 10;
  /// The reference's MAX_HEADER_SIZE.
  std::uint64_t safetensors_header_bytes = 100'000'000;
  /// An index.json or params.json.
  std::uint64_t json_bytes = 64u << 20;
  /// Nesting of JSON values.
  std::uint64_t json_depth = 32;
  /// Entries of a zip directory.
  std::uint64_t zip_entries = 1u << 20;
  /// Bytes of a zip directory.
  std::uint64_t zip_directory_bytes = 256u << 20;
  /// Bytes of a zip entry's name.
  std::uint64_t zip_name_bytes = 4096;
  /// A deflated pickle or other metadata after inflating.
  std::uint64_t inflated_bytes = 256u << 20;
  /// Bytes out for a byte in; 1032 is deflate's own maximum.
  std::uint64_t inflate_ratio = 1032;
  /// Bytes of one pickle.
  std::uint64_t pickle_bytes = 256u << 20;
  /// Opcodes of one pickle.
  std::uint64_t pickle_operations = 50'000'000;
  /// Values on the stack of one pickle.
  std::uint64_t pickle_stack = 1u << 20;
  /// Entries in the memo of one pickle.
  std::uint64_t pickle_memo = 16u << 20;
  /// Nesting of records on the way to a tensor. A name of more parts is one leaf of the record tree, under its whole name.
  std::uint64_t record_depth = 1000;
  /// Edges walked while tensors are collected from a nested record.
  std::uint64_t record_visits = 50'000'000;
  /// Key-value pairs and array elements of GGUF, MessagePack and CBOR metadata.
  std::uint64_t metadata_items = 16u << 20;
  /// Texts and byte strings of MessagePack, which are copied: one, and all of a file.
  std::uint64_t metadata_bytes = 256u << 20;
  /// Nesting of MessagePack, CBOR and GGUF metadata.
  std::uint64_t metadata_depth = 64;
  /// CBOR metadata of a burnpack file; Burn's own cap.
  std::uint64_t burnpack_metadata_bytes = 100u << 20;
  /// Header of a .npy file.
  std::uint64_t npy_header_bytes = 64u << 10;
  /// Memory that heft makes of a checkpoint's metadata, all files together: tables of tensors, names, dims and nodes, values and memo of
  /// pickles while they are read, inflated pickles, the record tree. 0: 16 MiB and 8 bytes for each byte of metadata as it lies in the files,
  /// before inflating. Published models take 2 to 4 bytes for one.
  std::uint64_t metadata_memory_bytes = 0;
  /// Bytes that one load or save makes by repeating others: a storage that several tensors view, windows that overlap, strides of 0. Counted
  /// over a whole LoadPlan, or over all tensors of a save. Bytes that repeat others once at most, as tied weights do, are never refused: so
  /// this bounds what a small file can declare.
  std::uint64_t repeated_bytes = std::uint64_t{4} << 30;
};

}  // namespace heft
