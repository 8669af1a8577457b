// heft/save.hpp: writes views to a checkpoint, which replaces the old one atomically.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "heft/bind.hpp"
#include "heft/checkpoint.hpp"
#include "heft/export.hpp"
#include "heft/materialize.hpp"
#include "heft/record.hpp"
#include "heft/tensor_view.hpp"
#include "heft/weights.hpp"
#include "heft/workers.hpp"

namespace heft {

/// A tensor to be written. Name and shape are those of the view; TensorView::renamed() changes the name. A value.
struct SaveItem {
  SaveItem(TensorView tensor) : view(std::move(tensor)), dtype(view.wanted_dtype()) {}  // NOLINT: a view is an item
  /// Converts to `as`; LoadPlan lists the conversions.
  SaveItem(TensorView tensor, DType as) : view(std::move(tensor)), dtype(as) {}

  TensorView view;
  DType dtype;
};

/// Options of save(). A value.
///
/// Example:
///   heft::SaveOptions options;
///   options.shard_bytes = std::uint64_t{5} << 30;      // shards of 5 GiB and an index
///   options.metadata.emplace_back("step", "12000");
///   heft::save(checkpoint, "out/model.safetensors", options);
struct SaveOptions {
  /// The name of the format to write, below; Error{unsupported} for another one. Empty: the format of the path's
  /// suffix; safetensors also for a folder and for ".safetensors.index.json".
  ///
  ///   safetensors  all dtypes but complex128 and blocks; names in UTF-8; metadata as texts; one file, or shards and an
  ///                index
  ///   gguf         version 3, little-endian: f16, bf16, f32, f64, i8 to i64 and ggml's blocks; at most 4 dims; names
  ///                of at most 63 bytes; metadata with types, and arrays
  ///   npz          as numpy.savez writes it, data at multiples of 64 bytes: bool, i8 to i64, u8 to u64, f16, f32, f64,
  ///                c64, c128; at least one tensor; names of at most 4062 bytes, no ".."; no metadata
  std::string format = {};
  /// Maximum bytes of tensors in one file; a larger tensor gets a separate file. 0: one file of any size. When
  /// everything fits one file, that file is written without an index. Error{unsupported} for formats of one file.
  std::uint64_t shard_bytes = 0;
  /// A map whose pairs are written as metadata: Checkpoint::metadata() of the source. safetensors keeps texts, numbers
  /// and booleans, as text; GGUF keeps them with their types, and arrays; npz keeps nothing. SaveReport::notes lists
  /// what is not kept. GGUF's keys that the save makes invalid are not kept either: the place among the parts of a
  /// split and, when dtypes are converted, general.file_type. save(Checkpoint) keeps the checkpoint's metadata unless
  /// another map is given here.
  Record keep_metadata = {};
  /// Pairs to add; they replace kept pairs of the same key. Error{unsupported} for npz, which has no metadata.
  std::vector<std::pair<std::string, std::string>> metadata = {};
  /// Error{limit_exceeded} for items that repeat storage to more than Limits::repeated_bytes, and for files that a
  /// reader with these limits would refuse: more tensors, members of a zip, or metadata than they allow.
  Limits limits = {};
  /// Number of threads that read and convert, as MaterializeOptions::threads. The calling thread writes.
  unsigned threads = 0;
  /// Threads to borrow, as MaterializeOptions::workers.
  std::shared_ptr<Workers> workers = {};
  /// The method to read bytes, as MaterializeOptions::io_method.
  IoMethod io_method = IoMethod::automatic;
  /// Called on the calling thread while bytes of tensors are written, and a last time with bytes_done == bytes_total.
  /// An exception from it ends the save and is rethrown by save().
  std::function<void(const Progress&)> progress = {};
  /// A stop request ends the save at its next unit of work, with Error{cancelled}; the destination is unchanged.
  std::stop_token stop = {};
  /// Waits (fsync) until all bytes are on the device before the old checkpoint is replaced. Without it a power failure,
  /// but not a killed process, can leave a file with holes under the new name.
  bool sync = true;
};

/// A file that save() wrote.
struct SavedFile {
  std::string path;              ///< As it was built from the path given to save().
  std::uint64_t size_bytes = 0;  ///< Of the whole file.
  std::size_t tensors = 0;       ///< Number of tensors in it; 0 for an index.
};

/// The result of save(). A value.
struct SaveReport {
  std::vector<SavedFile> files;    ///< Shards in their order, the index last.
  std::size_t tensors = 0;         ///< Number of tensors.
  std::uint64_t tensor_bytes = 0;  ///< Of all tensors, in the dtypes in which they were written.
  /// Tied weights: {name, name of the first tensor that views the same bytes}. Each is written in full, because the
  /// formats have no ties.
  std::vector<std::pair<std::string, std::string>> tied;
  std::vector<std::string> removed;  ///< Paths of files that only the old checkpoint used.
  /// Metadata and values that were not kept, with counts and names, and system calls that were refused. Printable
  /// lines.
  std::vector<std::string> notes;
  double seconds = 0;  ///< Wall time of the call.
};

/// Writes the items to `path` and returns the files that it wrote.
///
/// Files: one file, or shards `NAME-00001-of-000NN.safetensors` in the order of the items and, last,
/// `NAME.safetensors.index.json`, for a path that ends in NAME.safetensors. A path that ends in
/// `.safetensors.index.json` requests the index even where one shard is enough; for a folder, NAME is "model". Within a
/// safetensors file tensors have the order of the reference writer: largest element type first, then by name, with the
/// data aligned to 64 bytes. In npz and GGUF files they have the order of the items.
///
/// Atomicity: everything is written in the destination's folder, into files without a name (O_TMPFILE), which are
/// renamed only when all are complete: a reader of the destination sees the old checkpoint or the new one. Therefore
/// the destination can be a file that the views map: they keep the old file. A shard never replaces an existing file:
/// where the shards of the old index have the names, the new ones are called `NAME-<8 hex
/// digits>-00001-of-000NN.safetensors`, so that the old index is valid until the new one replaces it.
///
/// After that, save() removes files of the replaced checkpoint and lists them in SaveReport::removed: after shards and
/// an index, the shards that only the old index named, and a single file at `path`, which would hide the index from
/// readers of the folder; after a single file, the index `NAME.safetensors.index.json` and the shards that only it
/// named.
///
/// A killed process leaves no incomplete file. It can leave complete shards that no index names, if it is killed
/// between the renaming of the first shard and that of the index, or after 64 of them. Where the file system has no
/// unnamed files (NFS, FAT), or the system refuses to link them, it leaves hidden files `.NAME.heft-<16 hex digits>`;
/// the next save of the same name removes those that no running process has locked.
///
/// A system call that a sandbox or a file system refuses does not end the save, if the written bytes are correct
/// without it; SaveReport::notes lists the difference: without fchmod() the new file has only those permissions of the
/// old one that the umask allows; without fsync() and fdatasync() a power failure can lose the file; without unlink()
/// the old shards stay. A device that fails is always Error{io}.
///
/// The new file has the permission bits (0777) of the file that it replaces, never setuid, setgid and sticky; a symlink
/// is replaced, not its target. Memory: 48 MiB, of which 16 MiB are staging, for tensors of any size; a compressed
/// record is inflated whole in addition where it is not written in its own order.
///
/// Throws, with the destination unchanged:
///   unsupported  the format lacks a dtype, heft lacks a conversion, or a name is not UTF-8 or the format forbids it
///   ambiguous    two items have one name
///   io           with path and errno: ENOSPC before anything is read, where the file system reports its space; EFBIG
///                before anything is written, when a file would exceed RLIMIT_FSIZE (no SIGXFSZ is raised)
///   refused      the destination is not a regular file
///   not_found    the destination's folder does not exist
///   cancelled    SaveOptions::stop was requested
/// and what materialize() throws.
///
/// Example:
///   const heft::SaveItem items[] = {heft::SaveItem(view, heft::DType::f16)};
///   const heft::SaveReport report = heft::save(items, "half.safetensors");
///   for (const std::string& note : report.notes) std::cerr << "note: " << note << '\n';
HEFT_API SaveReport save(std::span<const SaveItem> items, const std::filesystem::path& path,
                         const SaveOptions& options = {});

/// Saves all tensors of a checkpoint, with its metadata.
HEFT_API SaveReport save(const Checkpoint& checkpoint, const std::filesystem::path& path,
                         const SaveOptions& options = {});
/// Saves all tensors under a record, named by their path from it: "mlp.up_proj.weight". Other values are counted in
/// SaveReport::notes. Also throws Error{type_mismatch} for a record that is not a container.
HEFT_API SaveReport save(const Record& record, const std::filesystem::path& path, const SaveOptions& options = {});
/// Saves all tensors of a load.
HEFT_API SaveReport save(const Weights& weights, const std::filesystem::path& path, const SaveOptions& options = {});

/// Saves a struct with describe(): its tensors named by their paths, numbers as tensors of rank 0, texts as metadata;
/// bind() reads it back. Throws what fields_of() and save() throw.
template <Bindable T>
  requires detail::Described<T>
SaveReport save(const T& from, const std::filesystem::path& path, SaveOptions options = {}) {
  FieldList fields = fields_of(from);
  options.metadata.insert(options.metadata.begin(), fields.metadata.begin(), fields.metadata.end());
  const std::vector<SaveItem> items(fields.tensors.begin(), fields.tensors.end());
  return save(items, path, options);
}

}  // namespace heft
