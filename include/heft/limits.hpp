// heft/limits.hpp: every bound on what a file can declare, in one place.
//
// The bounds protect a program from small files that declare large or deep structures: time and memory of open() stay
// proportional to the bytes of metadata that the file really contains.
#pragma once

#include <cstdint>

namespace heft {

/// Counts, depths and sizes above which a file is refused with Error{limit_exceeded}, which names the limit, its value
/// and the value found.
///
/// The defaults are above what any published model needs. Raise one for a file that you trust; lower them for files of
/// strangers. A value: passed by OpenOptions::limits, SaveOptions::limits and the constructor of LoadPlan.
///
/// Example:
///   heft::Limits limits;
///   limits.tensors = 10'000;    // this server loads no model with more
///   checkpoint = heft::open("upload.safetensors", {.limits = limits});
struct Limits {
  /// Tensors of one checkpoint.
  std::uint64_t tensors = 4u << 20;
  /// Dims of one tensor.
  std::uint64_t rank = 32;
  /// Bytes of the name of one tensor or record.
  std::uint64_t name_bytes = 64u << 10;
  /// Files of one checkpoint.
  std::uint64_t shards = 64u << 10;
  /// Bytes of a safetensors header; MAX_HEADER_SIZE of the reference implementation.
  std::uint64_t safetensors_header_bytes = 100'000'000;
  /// Bytes of an index.json or params.json.
  std::uint64_t json_bytes = 64u << 20;
  /// Nesting of JSON values.
  std::uint64_t json_depth = 32;
  /// Entries of a zip directory.
  std::uint64_t zip_entries = 1u << 20;
  /// Bytes of a zip directory.
  std::uint64_t zip_directory_bytes = 256u << 20;
  /// Bytes of a zip entry's name.
  std::uint64_t zip_name_bytes = 4096;
  /// Bytes of a deflated pickle or other metadata after inflating.
  std::uint64_t inflated_bytes = 256u << 20;
  /// Inflated bytes for one deflated byte; 1032 is the maximum that deflate can reach.
  std::uint64_t inflate_ratio = 1032;
  /// Bytes of one pickle that are kept in memory while it is read. In a pickle that is not deflated, byte strings from
  /// 4 KiB on and long lists of numbers stay in the file and do not count; a deflated pickle is inflated whole, and all
  /// its bytes count.
  std::uint64_t pickle_bytes = 256u << 20;
  /// Opcodes of one pickle. The numbers of a long list are stepped over and do not count, unless they are needed while
  /// the file is opened, as those of a list that is the whole pickle, whose items have a name each.
  std::uint64_t pickle_operations = 50'000'000;
  /// Values on the stack of one pickle.
  std::uint64_t pickle_stack = 1u << 20;
  /// Entries in the memo of one pickle.
  std::uint64_t pickle_memo = 16u << 20;
  /// Nesting of records on the way to a tensor. A name of more parts is one leaf of the record tree, under its whole
  /// name, and not an Error.
  std::uint64_t record_depth = 1000;
  /// Edges walked while tensors are collected from a nested record.
  std::uint64_t record_visits = 50'000'000;
  /// Key-value pairs and array elements of GGUF, MessagePack and CBOR metadata.
  std::uint64_t metadata_items = 16u << 20;
  /// Bytes of MessagePack's texts and byte strings, which are copied: of one, and of all in a file.
  std::uint64_t metadata_bytes = 256u << 20;
  /// Nesting of MessagePack, CBOR and GGUF metadata.
  std::uint64_t metadata_depth = 64;
  /// Bytes of the CBOR metadata of a burnpack file; the limit of Burn itself.
  std::uint64_t burnpack_metadata_bytes = 100u << 20;
  /// Bytes of the header of a .npy file.
  std::uint64_t npy_header_bytes = 64u << 10;
  /// Bytes of memory that the metadata of a checkpoint takes, all files together: tables of tensors, names, dims and
  /// nodes, values and memo of pickles while they are read, inflated pickles, the record tree. 0: 16 MiB plus 8 bytes
  /// for each byte of metadata in the files, before inflating. Published models take 2 to 4 bytes for one.
  std::uint64_t metadata_memory_bytes = 0;
  /// Bytes that one load or save writes more than once: from a storage that several tensors view, windows that overlap,
  /// strides of 0. Counted over a whole LoadPlan, or over all tensors of a save. Bytes that are repeated once at most,
  /// as those of tied weights, are never refused. A file of a kilobyte can declare terabytes by repetition; this bounds
  /// it.
  std::uint64_t repeated_bytes = std::uint64_t{4} << 30;
};

}  // namespace heft
