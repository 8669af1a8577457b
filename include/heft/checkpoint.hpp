// heft/checkpoint.hpp: one model on disk, opened: its tensors by flat name, its record tree, its metadata.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "heft/limits.hpp"
#include "heft/record.hpp"
#include "heft/tensor_view.hpp"

namespace heft {

namespace record {
struct State;
struct StateAccess;
}

/// How payload bytes are reached.
enum class Access : std::uint8_t {
  /// Mapped: views are free. Truncation of the file by another process raises SIGBUS in whoever touches a lost page of a view.
  map,
  /// Never mapped: TensorView::bytes() and as() read into memory of their own. No SIGBUS; each call costs a read.
  read,
};

/// What only files of NumPy (.npy, .npz) can be asked. Asking another format for it is Error{type_mismatch}.
struct NumpyOptions {
  /// What raw items are. NumPy saves the types of the package ml_dtypes without their names, as '<V2' (bf16) and '|V1'
  /// (fp8): an array of such items takes the dtype of this list that has an item's bytes. Throws Error{type_mismatch}
  /// when the file has no such array, Error{out_of_range} for a dtype whose elements are no whole bytes, and for two of
  /// one size.
  std::vector<DType> raw_items = {};
};

/// What open() can be asked.
struct OpenOptions {
  Access access = Access::map;
  Limits limits = {};
  /// Hugging Face caches are symlinks. False: a symlink as the last component is Error{refused}.
  bool follow_symlinks = true;
  /// PyTorch, pickles (else Error{out_of_range}): unknown globals are Error{refused} listing them, not opaque records.
  bool strict_globals = false;
  /// PyTorch zips (else Error{out_of_range}) without a `byteorder` record: take them as big-endian.
  bool big_endian_default = false;
  /// PyTorch: the state dict under this key. Absent: Error{not_found} listing the keys there are; Error{out_of_range} for files of other
  /// formats.
  std::string top_level_key = {};
  NumpyOptions numpy = {};
  /// The cache of huggingface_hub, usually ~/.cache/huggingface/hub: a path that is not there and reads "organization/name" is looked up in
  /// it. Empty: it is not. heft reads no environment: HF_HOME and its like are the caller's to read.
  std::filesystem::path hub_cache = {};
};

/// One file of a checkpoint.
struct ShardInfo {
  std::string path;
  /// "safetensors", "torch zip", ...
  std::string format;
  /// For people: a format's version; may be empty.
  std::string detail;
  /// At open.
  std::uint64_t size_bytes = 0;
  /// Tensors of the checkpoint that this file holds.
  std::uint64_t tensor_count = 0;
};

/// What lies now at the paths that a checkpoint was opened from: its folder, its index, every shard, symlinks followed.
/// In the order of how far it is from what was opened.
enum class Freshness : std::uint8_t {
  same,      ///< What was opened.
  modified,  ///< The same files, one of which was written to. Loads are Error{changed_on_disk}.
  replaced,  ///< Another file or folder (mv, rsync, heft::save(), a symlink that was turned): what was opened is whole, and old.
  gone,      ///< Nothing, or a symlink to nothing. What was opened is whole.
};

/// "same", "modified", "replaced", "gone".
[[nodiscard]] HEFT_API std::string_view name(Freshness freshness) noexcept;

/// Payload that is not what the file's own checksum says.
struct Damage {
  std::string path;      ///< The file.
  std::string tensor;    ///< The first tensor that lies in the damaged record.
  std::string sentence;  ///< What was expected and found.
};

/// A range of tensors: `for (const TensorView& t : checkpoint.tensors())`. It holds the checkpoint; views are made as it goes.
class HEFT_API TensorRange {
 public:
  class HEFT_API iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = TensorView;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = TensorView;

    iterator() noexcept = default;
    TensorView operator*() const { return (*range_)[position_]; }
    iterator& operator++() noexcept { ++position_; return *this; }
    iterator operator++(int) noexcept { iterator old = *this; ++position_; return old; }
    friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.position_ == b.position_; }

   private:
    friend class TensorRange;
    iterator(const TensorRange* range, std::size_t position) noexcept : range_(range), position_(position) {}
    const TensorRange* range_ = nullptr;
    std::size_t position_ = 0;
  };

  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  /// View number `position` < count(). Throws Error{out_of_range}.
  [[nodiscard]] TensorView operator[](std::size_t position) const;
  /// Iterators are valid while this range lives.
  [[nodiscard]] iterator begin() const& noexcept { return {this, 0}; }
  [[nodiscard]] iterator end() const& noexcept { return {this, count_}; }

 private:
  friend class Checkpoint;
  TensorRange(std::shared_ptr<const record::State> state, std::vector<std::uint32_t> selected, bool all);
  std::shared_ptr<const record::State> state_;
  std::vector<std::uint32_t> selected_;  // positions in file order; empty when all are meant
  std::size_t count_ = 0;
  bool all_ = false;
};

/// An opened checkpoint: shards, their catalogs, and what is made of them. A quarter of what the process may have open
/// (RLIMIT_NOFILE), 4 to 256 files, stays open at most; a path is opened again only to regain a file that was given up,
/// and what is found there must be the same file, or it is Error{changed_on_disk}.
///
/// One model or an Error: the identity of each file (device, inode, size, mtime, ctime) is recorded when it is opened, and
/// compared after its headers were read, before the first and after the last byte of every load, and after every read
/// under Access::read. A file that was written to meanwhile is Error{changed_on_disk} with what differs, so that no load
/// hands out bytes of two models; links, modes and owners may change, and a file that was renamed, replaced by a rename or
/// removed stays whole. That is as good as the kernel's word: stores through a shared mapping move no timestamp while
/// their page is dirty already, a single write(2) that is under way when the file is opened moved it before, and a network
/// file system may give two changes one time. (A local one does so within a tick of the kernel's clock: a file that was
/// changed less than some milliseconds ago is opened that much later.) Views into a mapping show what the file
/// holds now: freshness() before and after is the caller's.
///
/// A handle: copies share what was opened. Const members may be called from several threads. Views and records hold what they need, so a
/// Checkpoint may die first.
class HEFT_API Checkpoint {
 public:
  /// All tensors in file order: shards in the index's order (by name for a folder), within a shard by offset.
  [[nodiscard]] TensorRange tensors() const;
  /// Those whose flat name matches the glob: `*` any run of characters (dots too), `?` one, `[abc]` `[!a-z]` a class, `{a,b}` alternatives,
  /// backslash quotes. A pattern that starts with "re:" is a regular expression (RE2) that must match the whole name; RE2 ends the process when
  /// it cannot allocate. Throws Error{out_of_range} for a pattern that does not compile.
  [[nodiscard]] TensorRange tensors(std::string_view pattern) const;
  /// By full flat name. Throws Error{not_found} naming the nearest names.
  [[nodiscard]] TensorView tensor(std::string_view name) const;
  /// By full flat name, or nothing. Allocates for a tensor of more than 6 dims only (Dims), and throws std::bad_alloc then.
  [[nodiscard]] std::optional<TensorView> find(std::string_view name) const;

  /// Root of the record tree, built on first use. A name of more than Limits::record_depth parts is one leaf of it, with a note.
  [[nodiscard]] Record root() const;
  /// Metadata of the checkpoint as a map record: safetensors' __metadata__ (of all shards; a key with differing values is listed under its
  /// first), GGUF's keys. A null record when there is none.
  [[nodiscard]] Record metadata() const;

  [[nodiscard]] const std::vector<ShardInfo>& shards() const& noexcept;
  const std::vector<ShardInfo>& shards() const&& = delete;
  /// Legal but odd things seen at open, for people, each a line of printable text: "total_size says 12, tensors have 16 bytes".
  [[nodiscard]] const std::vector<std::string>& notes() const& noexcept;
  const std::vector<std::string>& notes() const&& = delete;
  /// Path as it was given to open().
  [[nodiscard]] const std::string& path() const& noexcept;
  const std::string& path() const&& = delete;
  /// Looks at the paths: one system call for each file. The worst of what it finds. To ask whether it is time to open the
  /// path again; a load looks at the opened files itself. Throws Error{io} where a path cannot be examined.
  [[nodiscard]] Freshness freshness() const;
  /// Reads all payload that has a checksum (records of zip archives: PyTorch's, NumPy's) and compares. Empty: no damage, or nothing to compare.
  /// Throws Error{io, changed_on_disk, out_of_memory}.
  [[nodiscard]] std::vector<Damage> verify_checksums() const;
  /// Bytes that the tables of this checkpoint take in memory (names, entries, index; the tree once built).
  [[nodiscard]] std::uint64_t table_bytes() const noexcept;

 private:
  friend struct record::StateAccess;
  friend HEFT_API Checkpoint open(const std::filesystem::path& path, const OpenOptions& options);
  explicit Checkpoint(std::shared_ptr<const record::State> state) noexcept : state_(std::move(state)) {}
  std::shared_ptr<const record::State> state_;
};

/// Opens a checkpoint: one file of any format, an index (`*.index.json`), or a folder.
///
/// Reads headers only: cost grows with the number of tensors, not with bytes. The headers of many shards are read by up to eight threads, which
/// are gone when open() returns. A folder is tried in Hugging Face's order: model.safetensors, its index, pytorch_model.bin, its index,
/// flax_model.msgpack, its index; then variants (model.fp16.safetensors), Meta's consolidated.NN.pth, and the only file, index or complete
/// set of numbered parts with an ending of weights. What a trainer keeps beside them (training_args.bin, optimizer.pt, ...) is never the
/// model. The folder of a model in the cache of huggingface_hub (models--organization--name) stands for the snapshot of its refs/main,
/// without one for its only snapshot. Weights that are there and not used are named in notes().
///
/// An index names the files of a model: all must be there. Tensors that lie in another of them than it says are taken from there, with a
/// note; tensor() of one that lies in none is Error{not_found}. An index of which no file is there is not used where one complete set of
/// numbered parts is, with a note.
///
/// Throws Error with path, tensor and offset: not_found, unrecognized, corrupt, ambiguous, limit_exceeded, unsupported, refused, io;
/// changed_on_disk where a file was written to while its headers were read, or one of several was replaced meanwhile.
[[nodiscard]] HEFT_API Checkpoint open(const std::filesystem::path& path, const OpenOptions& options = {});

}  // namespace heft
