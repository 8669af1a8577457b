// heft/checkpoint.hpp: opens one model on disk: its tensors by flat name, its record tree, its metadata.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "heft/bytes.hpp"
#include "heft/index_iterator.hpp"
#include "heft/limits.hpp"
#include "heft/read_options.hpp"
#include "heft/record.hpp"
#include "heft/tensor_view.hpp"

namespace heft {

class Storage;

namespace record {
struct State;
struct StateAccess;
}  // namespace record

/// The way to payload bytes.
enum class Access : std::uint8_t {
  /// Mapped: views cost nothing. If another process truncates the file, access to a lost page of a view raises SIGBUS
  /// in the thread that touches it.
  map,
  /// Never mapped: TensorView::bytes() and as() read into memory that the result owns. No SIGBUS; each call costs a
  /// read.
  read,
};

/// Options of open(). A value.
///
/// Example:
///   heft::OpenOptions options;
///   options.access = heft::Access::read;       // no SIGBUS when another process truncates the file
///   options.limits.rank = 8;
///   checkpoint = heft::open("model.pth", options);
struct OpenOptions {
  /// Mapped or read.
  Access access = Access::map;
  /// Bounds on what the file can declare.
  Limits limits = {};
  /// Hugging Face's caches consist of symlinks. False: a symlink as the last component of a path is Error{refused}.
  bool follow_symlinks = true;
  /// For PyTorch's files and pickles only.
  TorchReadOptions torch = {};
  /// For NumPy's files only.
  NumpyReadOptions numpy = {};
  /// The cache folder of huggingface_hub, usually ~/.cache/huggingface/hub: a path that does not exist and has the form
  /// "organization/name" is looked up in it. Empty: no lookup. heft reads no environment variables: a caller that
  /// follows HF_HOME reads it and sets this member.
  std::filesystem::path hub_cache = {};
};

/// One file of a checkpoint, as it was at open.
struct ShardInfo {
  /// The path that was opened.
  std::string path;
  /// The format's name: "safetensors", "torch zip", ...
  std::string format;
  /// A text for people: the version of the format; can be empty.
  std::string detail;
  /// Size of the file when it was opened.
  std::uint64_t size_bytes = 0;
  /// Number of the checkpoint's tensors that this file contains.
  std::uint64_t tensor_count = 0;
};

/// The state of the paths that a checkpoint was opened from: its folder, its index, every shard, with symlinks
/// followed. Ordered from no difference to the largest.
enum class Freshness : std::uint8_t {
  same,      ///< The files that were opened.
  modified,  ///< The same files, one of which was written to. Loads are Error{changed_on_disk}.
  replaced,  ///< Another file or folder (mv, rsync, heft::save(), a changed symlink). The opened files are whole.
  gone,      ///< No file, or a dangling symlink. The opened files are whole.
};

/// Returns "same", "modified", "replaced" or "gone".
[[nodiscard]] HEFT_API std::string_view name(Freshness freshness) noexcept;

/// Payload that does not match the checksum in its file. A result of Checkpoint::verify_checksums().
struct Damage {
  std::string path;     ///< The file.
  std::string tensor;   ///< The first tensor in the damaged record.
  std::string message;  ///< What was expected and what was found.
};

/// A range of tensors, in file order. It holds the checkpoint, and makes a view when an element is accessed.
///
/// A value. Const members may be called from several threads.
///
/// Example:
///   for (const heft::TensorView& tensor : checkpoint.tensors("*.q_proj.weight"))
///     std::cout << tensor.name() << ' ' << heft::to_string(tensor.shape()) << '\n';
class HEFT_API TensorRange {
 public:
  /// Number of tensors.
  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  /// Returns view number `position`. Throws Error{out_of_range} unless position < size().
  [[nodiscard]] TensorView operator[](std::size_t position) const;
  using iterator = IndexIterator < TensorRange, TensorView, &TensorRange::operator[]>;
  /// Iterators are valid while this range lives and is not moved. Deleted for a temporary; a loop keeps one alive.
  [[nodiscard]] iterator begin() const& noexcept { return {*this, 0}; }
  [[nodiscard]] iterator end() const& noexcept { return {*this, count_}; }
  iterator begin() const&& = delete;
  iterator end() const&& = delete;

 private:
  friend class Checkpoint;
  TensorRange(std::shared_ptr<const record::State> state, std::vector<std::uint32_t> selected, bool all);
  std::shared_ptr<const record::State> state_;
  std::vector<std::uint32_t> selected_;  // positions in file order; empty when all are meant
  std::size_t count_ = 0;
  bool all_ = false;
};

/// An opened checkpoint: its shards, their catalogs, and the tables made from them.
///
/// One model or an Error: heft records the identity of each file (device, inode, size, mtime, ctime) when it opens it,
/// and compares it after the headers were read, before the first and after the last byte of every load, and after every
/// read under Access::read. A file that was written to in between is Error{changed_on_disk}, which names the
/// difference, so that no load returns bytes of two models. Changes of links, mode and owner are allowed; a file that
/// was renamed, replaced by a rename, or removed is still whole for those who have it open.
///
/// The comparison detects what the kernel records. It does not detect stores through a shared mapping into a page that
/// is already dirty (they update no timestamp), a single write(2) that is in progress when the file is opened (it
/// updated the timestamp before), and two changes with one timestamp on a network file system. (Local file systems can
/// give two changes within one tick of the kernel's clock the same timestamp; therefore open() waits until a file that
/// was changed in the last milliseconds is older than a tick.) Views into a mapping show the current contents of the
/// file: a program that serves from them calls freshness() itself.
///
/// At most a quarter of the files that the process may have open (RLIMIT_NOFILE), at least 4 and at most 256, stay
/// open. A path is opened again only to replace a descriptor that was closed for that reason; another file found there
/// is Error{changed_on_disk}.
///
/// A handle: copies share the opened files and tables. Const members may be called from several threads. Views, records
/// and ranges hold what they need, so that the Checkpoint may be destroyed first. References that the getters return
/// are valid while a copy of this Checkpoint lives; called on a temporary, the getters return copies.
///
/// Example:
///   const heft::Checkpoint llama = heft::open("Meta-Llama-3-8B");
///   const heft::TensorView embedding = llama.tensor("model.embed_tokens.weight");
///   for (const std::string& note : llama.notes()) std::cerr << "note: " << note << '\n';
class HEFT_API Checkpoint {
 public:
  /// Returns all tensors in file order: shards in the index's order (by name for a folder), within a shard by offset.
  [[nodiscard]] TensorRange tensors() const;
  /// Returns the tensors whose flat name matches a glob: `*` is any run of characters (dots too), `?` one character,
  /// `[abc]` and `[!a-z]` a class, `{a,b}` alternatives, a backslash quotes. A pattern that starts with "re:" is a
  /// regular expression (RE2) that must match the whole name; RE2 terminates the process when it cannot allocate
  /// memory. Throws Error{out_of_range} for a pattern that does not compile.
  [[nodiscard]] TensorRange tensors(std::string_view pattern) const;
  /// Returns the tensor of that full flat name. Throws Error{not_found}, which names the nearest names;
  /// Error{type_mismatch} when the name is that of a value of another kind.
  [[nodiscard]] TensorView tensor(std::string_view name) const;
  /// Returns the tensor of that full flat name, or nothing. Constant time. Throws std::bad_alloc only, for a tensor of
  /// more than 6 dims (see Dims).
  [[nodiscard]] std::optional<TensorView> find(std::string_view name) const;

  /// Returns the root of the record tree, which the first call builds. A name of more than Limits::record_depth parts
  /// is one leaf of it, with a note.
  [[nodiscard]] Record root() const;
  /// Returns the metadata as a map record: safetensors' __metadata__ (of all shards; of a key with differing values the
  /// first), GGUF's keys and values. A null record when there is none.
  [[nodiscard]] Record metadata() const;

  /// The files, in file order.
  [[nodiscard]] const std::vector<ShardInfo>& shards() const& noexcept;
  [[nodiscard]] std::vector<ShardInfo> shards() const&& { return shards(); }
  /// Facts that open() found and that matter to a user: weights that are not used, an index that disagrees with its
  /// files, legal but unusual values. Each is a line of printable text.
  [[nodiscard]] const std::vector<std::string>& notes() const& noexcept;
  [[nodiscard]] std::vector<std::string> notes() const&& { return notes(); }
  /// The path as it was given to open().
  [[nodiscard]] const std::string& path() const& noexcept;
  [[nodiscard]] std::string path() const&& { return path(); }
  /// Compares the paths with what was opened, by one system call for each file, and returns the largest difference. It
  /// serves to decide when to open the path again; loads compare the opened files themselves. Throws Error{io} where a
  /// path cannot be examined.
  [[nodiscard]] Freshness freshness() const;
  /// Reads all payload that has a checksum (records of zip archives: PyTorch's, NumPy's) and returns the records that
  /// do not match. Empty also when the files contain no checksums. Throws Error{io, changed_on_disk, out_of_memory}.
  [[nodiscard]] std::vector<Damage> verify_checksums() const;
  /// Bytes of memory that the tables of this checkpoint take: names, entries, index; the record tree once it is built.
  [[nodiscard]] std::uint64_t table_bytes() const noexcept;

 private:
  friend struct record::StateAccess;
  friend HEFT_API Checkpoint open(const std::filesystem::path& path, const OpenOptions& options);
  friend HEFT_API Checkpoint open(const std::shared_ptr<const Storage>& storage, std::string_view name,
                                  const OpenOptions& options);
  friend HEFT_API Checkpoint open(Bytes bytes, const OpenOptions& options);
  explicit Checkpoint(std::shared_ptr<const record::State> state) noexcept : state_(std::move(state)) {}
  std::shared_ptr<const record::State> state_;
};

/// Opens a checkpoint: one file of any format, an index (`*.index.json`), or a folder.
///
/// Reads headers only: the cost grows with the number of tensors, not with their bytes. Up to eight threads read the
/// headers of many shards; they have ended when open() returns. May be called from several threads.
///
/// In a folder open() looks for, in Hugging Face's order: model.safetensors, its index, pytorch_model.bin, its index,
/// flax_model.msgpack, its index; then variants (model.fp16.safetensors), Meta's consolidated.NN.pth, and the only
/// file, index or complete set of numbered parts with a suffix of weights. Other files of a trainer (training_args.bin,
/// optimizer.pt, ...) are never the model. A model's folder in the cache of huggingface_hub
/// (models--organization--name) stands for the snapshot of its refs/main, without one for its only snapshot. Weights
/// that exist and are not used are named in notes().
///
/// An index names the files of a model: all must exist. A tensor that is in another of them than the index states is
/// taken from there, with a note; tensor() of one that is in none is Error{not_found}. An index of whose files none
/// exists is ignored, with a note, where the folder has one complete set of numbered parts.
///
/// Throws Error with path, tensor and offset:
///   not_found        no such path, no weights in the folder, a missing shard
///   unrecognized     the first bytes match no format
///   corrupt          the file breaks a rule of its format, or is cut short
///   ambiguous        duplicate names, overlapping ranges, several candidates in a folder
///   limit_exceeded   a count, depth or size above OpenOptions::limits
///   unsupported      a format (HDF5, ONNX, ...), version or compression that heft does not implement
///   refused          a symlink or a global that the options forbid, a name outside the folder, not a regular file
///   io               a system call failed: os_error()
///   changed_on_disk  a file was written to while its headers were read, or one of several was replaced
///   type_mismatch, out_of_range   an option that files of this format cannot use
[[nodiscard]] HEFT_API Checkpoint open(const std::filesystem::path& path, const OpenOptions& options = {});

/// Opens a checkpoint in a storage of the caller's: the file, index or folder `name`, a plain name; or the storage
/// itself, as a folder, if `name` is empty or ".". The same as open() of a path, without the features that only paths
/// have: caches of huggingface_hub, symlinks.
///
/// Reads headers by ByteSource::read(), up to eight files at a time. The Checkpoint keeps the storage.
///
/// Throws as open() of a path, and what the storage and its sources throw; Error{out_of_range} for a null storage and
/// for capabilities that contradict each other; Error{unsupported} for a folder that cannot be listed.
[[nodiscard]] HEFT_API Checkpoint open(const std::shared_ptr<const Storage>& storage, std::string_view name,
                                       const OpenOptions& options = {});

/// Opens a whole file of any format in memory. Views point into `bytes` and hold their owner. path() is "bytes in
/// memory", freshness() is always `same`.
///
/// Throws as open() of a path; Error{unsupported} for a file that names other files (an index, a part of a split),
/// which open() of a Storage finds.
[[nodiscard]] HEFT_API Checkpoint open(Bytes bytes, const OpenOptions& options = {});

}  // namespace heft
