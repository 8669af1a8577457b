// heft/save.hpp: from views to files: writes a checkpoint that replaces the old one in one step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
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

namespace heft {

/// A tensor to be written: the name and shape are the view's own (see TensorView::renamed()).
struct SaveItem {
  SaveItem(TensorView tensor) : view(std::move(tensor)), dtype(view.wanted_dtype()) {}  // NOLINT: a view is an item
  /// Converted; LoadPlan says what converts.
  SaveItem(TensorView tensor, DType as) : view(std::move(tensor)), dtype(as) {}

  TensorView view;
  DType dtype;
};

/// Formats that heft writes.
///
/// format       dtypes                              names                             metadata       several files
/// safetensors  its 22, see `heft formats`          UTF-8, but "__metadata__"         texts          shards and an index
/// npz          bool, i8-i64, u8-u64, f16, f32,     UTF-8, to 4062 bytes, no "..",    none           no
///              f64, c64, c128: what NumPy has      no two that differ by case only
/// gguf         f16, bf16, f32, f64, i8-i64,        UTF-8, to 63 bytes                typed values   no
///              ggml's blocks; at most 4 dims                                         and arrays
enum class SaveFormat : std::uint8_t {
  /// As the path ends: ".safetensors", ".npz", ".gguf"; a folder and ".safetensors.index.json" mean safetensors too.
  by_suffix,
  safetensors,
  npz,   ///< As numpy.savez writes it, but the arrays' data lie at multiples of 64 bytes. At least one tensor.
  gguf,  ///< Version 3, little-endian, data at multiples of general.alignment.
};

/// What save() can be asked.
struct SaveOptions {
  SaveFormat format = SaveFormat::by_suffix;
  /// Most bytes of tensors in one file; a tensor larger than that gets a file of its own. 0: one file, whatever its
  /// size. When everything fits one file, one file without an index is written. Safetensors only: Error{unsupported}
  /// for the other formats.
  std::uint64_t shard_bytes = 0;
  /// A map whose pairs are kept: Checkpoint::metadata() of the source. safetensors keeps texts, numbers and booleans,
  /// as text; GGUF keeps them as what they are, and arrays; npz nothing. SaveReport::notes says what is not kept, which
  /// for GGUF is also what no longer holds: the place among the parts of a split and, when dtypes are converted,
  /// general.file_type. save(Checkpoint) keeps the checkpoint's own unless another is given here.
  Record keep_metadata = {};
  /// Pairs added, over those kept. Error{unsupported} for npz, which could not give them back.
  std::vector<std::pair<std::string, std::string>> metadata = {};
  /// Error{limit_exceeded} for items that repeat storage to more than Limits::repeated_bytes, the only member that is used.
  Limits limits = {};
  /// Threads that read and convert, as MaterializeOptions::threads. One more writes.
  unsigned threads = 0;
  /// How bytes are fetched, as MaterializeOptions::io_method.
  IoMethod io_method = IoMethod::automatic;
  /// Called on the calling thread as bytes of tensors are written, and a last time with bytes_done == bytes_total. What
  /// it throws ends the save and comes out of save().
  std::function<void(const Progress&)> progress = {};
  /// A stop request ends the save soon, with Error{cancelled}; the destination is as it was.
  std::stop_token stop = {};
  /// Waits until everything is on the device before the old checkpoint is replaced. Without it a power failure (not a
  /// killed process) may leave a file with holes under the new name.
  bool sync = true;
};

/// A file that save() wrote.
struct SavedFile {
  std::string path;
  std::uint64_t size_bytes = 0;
  std::size_t tensors = 0;  ///< 0 for an index.
};

/// What save() did. A value.
struct SaveReport {
  std::vector<SavedFile> files;    ///< Shards in their order, the index last.
  std::size_t tensors = 0;
  std::uint64_t tensor_bytes = 0;  ///< Of all tensors as they were written.
  /// Tied weights: {name, name of the first that views the same bytes}. Written once each, for the formats cannot tie
  /// them.
  std::vector<std::pair<std::string, std::string>> tied;
  std::vector<std::string> removed;  ///< Paths of the old checkpoint's files that the new one left without use.
  /// What was not kept, with counts and names (metadata, values that are no tensors), and what the system refused.
  /// Printable lines.
  std::vector<std::string> notes;
  double seconds = 0;
};

/// Writes the items to `path`.
///
/// One file, or shards `NAME-00001-of-000NN.safetensors` in the order of the items and, last,
/// `NAME.safetensors.index.json`, for a path that ends in NAME.safetensors. A path that ends in
/// `.safetensors.index.json` asks for the index even where one shard holds all; for a folder, NAME is "model". Within a
/// safetensors file tensors lie as the reference writer lays them: the largest elements first, then by name, the data
/// 64-byte aligned. In npz and GGUF files they keep the order of the items.
///
/// In one step. Everything is written beside the destination, in files without a name (O_TMPFILE), and put in place only
/// when all is complete: a reader of the destination sees the old checkpoint or the new one. So it may be a file that the
/// views map: they keep what they see. Shards never take the name of a file that is there: where those of the old index
/// would be, the new ones are called `NAME-<8 hex digits>-00001-of-000NN.safetensors`, so the old index stays whole until
/// the new one takes its name.
///
/// After that, what described the replaced checkpoint goes, and SaveReport::removed lists it: after shards and an index,
/// the shards that only the old index named, and a single file at `path`, which would hide the index from readers of the
/// folder; after a single file, the index `NAME.safetensors.index.json` and the shards that only it named.
///
/// A killed process leaves no file that is incomplete. It may leave shards that no index names: complete ones, if it is
/// killed between the first shard's renaming and the index', or after 64 of them. Where the file system has no unnamed
/// files (NFS, FAT), or the system links none, it leaves hidden files `.NAME.heft-<16 hex digits>`; the next save of the
/// same name removes those that no living process has locked.
///
/// A call that the system refuses to make (a sandbox, a file system) does not end a save whose bytes are right without
/// it; SaveReport::notes has what is not as asked for then: fchmod(), so that the new file has only those permissions of
/// the old one that the umask leaves; fsync() and fdatasync(), so that a power failure may lose the file; unlink() of old
/// shards, which stay. A device that fails is Error{io} always.
///
/// The permission bits (0777) of a replaced file are kept, never setuid, setgid and sticky; a symlink is replaced, not
/// what it points at. Memory: 48 MiB and the staging of a load of 16 MiB, whatever the tensors' sizes, but for compressed
/// records, which are inflated whole.
///
/// Throws Error{unsupported} naming the tensor, for a dtype that the format lacks, a conversion that heft does not do,
/// or a name that is no UTF-8 or that the format cannot hold; Error{ambiguous} for two items of one name; Error{io}
/// with path and errno: ENOSPC before anything is read where the file system can say so, EFBIG before anything is written
/// when a file would be larger than RLIMIT_FSIZE (no SIGXFSZ is raised); Error{refused} when the
/// destination is no regular file; Error{not_found} when its folder is not there; Error{cancelled}; and what
/// materialize() throws. Then the destination is as it was.
HEFT_API SaveReport save(std::span<const SaveItem> items, const std::filesystem::path& path, const SaveOptions& options = {});

/// All tensors of a checkpoint, with its metadata.
HEFT_API SaveReport save(const Checkpoint& checkpoint, const std::filesystem::path& path, const SaveOptions& options = {});
/// All tensors under a record, named by their path from it: "mlp.up_proj.weight". Other values are counted in
/// SaveReport::notes. Throws Error{type_mismatch} for a record that is not a container.
HEFT_API SaveReport save(const Record& record, const std::filesystem::path& path, const SaveOptions& options = {});
/// All tensors of a load.
HEFT_API SaveReport save(const Weights& weights, const std::filesystem::path& path, const SaveOptions& options = {});

/// A struct with describe(): its tensors by their paths, numbers as tensors of rank 0, texts as metadata; bind() reads
/// it back. See fields_of().
template <class T>
  requires detail::Described<T>
SaveReport save(const T& from, const std::filesystem::path& path, SaveOptions options = {}) {
  FieldList fields = fields_of(from);
  options.metadata.insert(options.metadata.begin(), fields.metadata.begin(), fields.metadata.end());
  const std::vector<SaveItem> items(fields.tensors.begin(), fields.tensors.end());
  return save(items, path, options);
}

}  // namespace heft
