// record/open.cpp: open(), which finds the files of a path or in a storage, reads their catalogs and merges them into
// one table.
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/formats.hpp"
#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "record/directory.hpp"
#include "record/distributed.hpp"
#include "record/folder.hpp"
#include "record/hub_cache.hpp"
#include "record/index.hpp"
#include "record/index_files.hpp"
#include "record/join.hpp"
#include "record/meta.hpp"
#include "record/option_checks.hpp"
#include "record/parallel.hpp"
#include "record/sharded_files.hpp"
#include "record/state.hpp"
#include "record/universal.hpp"
#include "record/weight_names.hpp"

namespace heft {
namespace record {
namespace {

class Opener {
 public:
  Opener(std::string path, const OpenOptions& options)
      : options_(options),
        opening_{.symlinks = options.follow_symlinks ? mmap::Symlinks::follow : mmap::Symlinks::refuse},
        state_(std::make_shared<State>()) {
    state_->path = std::move(path);
    state_->limits = options.limits;
    state_->budget = std::make_shared<core::MetadataBudget>(options.limits.metadata_memory_bytes);
    state_->values = core::Table<LeafValue>(state_->budget);
  }

  // Opens the path.
  std::shared_ptr<const State> open() {
    std::error_code ignored;
    // A path that cannot be examined counts as a file, whose opening reports the failure.
    if (const std::string path = resolve(); std::filesystem::is_directory(path, ignored))
      open_folder(Directory::open(path, opening_));
    else {
      refuse_part_of_distributed();
      open_first(followed(file_source(mmap::File::open(path, opening_.symlinks)), opening_.symlinks, *state_));
    }
    return finish();
  }

  // Opens a file, or a folder, in a storage.
  std::shared_ptr<const State> open_in(std::shared_ptr<const Storage> storage, std::string_view name) {
    folder_ = Directory::of(std::move(storage), opening_);
    // The storage itself is the folder of the model.
    if (name.empty() || name == ".") {
      open_folder(folder_);
      return finish();
    }
    require_plain_name(name, folder_->path());
    state_->path = folder_->path_of(name);
    refuse_part_of_distributed();
    open_named(std::string(name));
    return finish();
  }

  // Opens a whole file in memory.
  std::shared_ptr<const State> open_bytes(Bytes bytes) {
    open_first(file_in_memory(std::move(bytes)));
    return finish();
  }

 private:
  std::shared_ptr<const State> finish() {
    list_origins();
    // After the last catalog: files that were replaced while others were read are found here.
    require_one_model(state_->origins);
    note_unused();
    add_values();
    require_applicable(options_, *state_);
    state_->describe_shards();
    state_->collect_notes();
    return state_;
  }

  void open_first(std::shared_ptr<const Source> file) {
    open_file(open_shard(std::move(file), options_, state_->budget));
  }

  // The name is that of a file, or else of a folder.
  void open_named(const std::string& name) {
    std::shared_ptr<const Source> file;
    try {
      file = folder_->open_file(name);
    } catch (const Error& error) {
      // A storage reports a folder as not_found, a folder on disk as refused.
      const bool is_folder = error.code() == ErrorCode::not_found || error.code() == ErrorCode::refused;
      if (!is_folder || !folder_->has_folder(name)) throw;
      return open_folder(folder_->open_folder(name));
    }
    open_first(followed(std::move(file), opening_.symlinks, *state_));
  }

  // Returns the path itself, or the folder in the hub's cache of the model with that name.
  std::string resolve() {
    if (state_->path.empty())
      throw Error(ErrorCode::not_found, "expected the path of a checkpoint, found an empty one");
    std::error_code ignored;
    // symlink_status(): a broken link is a path of the user's, not a name on the hub.
    if (options_.hub_cache.empty() || std::filesystem::exists(std::filesystem::symlink_status(state_->path, ignored)))
      return state_->path;
    if (auto model = cached_model(options_.hub_cache, state_->path)) {
      state_->notes.push_back(
          fmt::format("'{}' is opened from the cache: {}", core::escaped(state_->path), core::escaped(*model, 1000)));
      return *model;
    }
    // Only names of the form "organization/name" can be models of the hub; any other path gets the error of a missing
    // file.
    if (state_->path.find('/') == std::string::npos || !is_hub_name(state_->path)) return state_->path;
    throw Error(ErrorCode::not_found,
                fmt::format("no such file or folder, and no model of that name in the cache {}",
                            core::escaped(options_.hub_cache.string(), 1000)),
                {.path = state_->path});
  }

  void open_folder(std::shared_ptr<const Directory> folder) {
    use_folder(std::move(folder));
    // The layout of the hub's cache consists of symlinks, which a storage does not have.
    if (const mmap::Folder* const on_disk = folder_->on_disk())
      if (const auto snapshot = snapshot_of(*on_disk, *state_)) use_folder(Directory::open(*snapshot, opening_));
    if (auto latest = latest_universal(*folder_, *state_)) use_folder(std::move(latest));
    if (const auto parameters = universal_parameters(*folder_)) {
      if (!options_.torch.top_level_key.empty())
        fail_no_keys(options_, *state_, "the names of a universal checkpoint are flat");
      return open_universal(*state_, *folder_, *parameters, options_);
    }
    Choice choice = choose(*folder_);
    unused_ = std::move(choice.unused);
    state_->notes.insert(state_->notes.end(), choice.notes.begin(), choice.notes.end());
    switch (choice.kind) {
      case Choice::Kind::file: return open_first(sibling(choice.names.front()));
      case Choice::Kind::parts:
        for (const std::string& name : choice.names) add_sibling(name, folder_->path());
        open_shards();
        return add_all_tensors();
      case Choice::Kind::ranks:
        for (const std::string& name : choice.names) add_sibling(name, folder_->path());
        open_shards();
        return assemble_sharded_files(*state_);
      case Choice::Kind::meta:
        for (const std::string& name : choice.names) add_sibling(name, folder_->path());
        // Symlinks can lead to one file: a part of each tensor would then be read twice, and another never.
        if (files_.size() != choice.names.size())
          throw Error(ErrorCode::ambiguous, "two consolidated parts are one file", {.path = folder_->path()});
        open_shards();
        state_->params = open_params(sibling("params.json"), options_, state_->budget);
        return merge_meta(*state_, *state_->params);
    }
  }

  void use_folder(std::shared_ptr<const Directory> folder) {
    folder_ = std::move(folder);
    add_origin(folder_->origin());
  }

  // Opens the folder of the files that an opened file names.
  void use_folder_beside(const Source& file) {
    if (!folder_ && file.file() == nullptr)
      throw Error(ErrorCode::unsupported,
                  "expected a file with its tensors, found one that names other files: open it "
                  "from a Storage that has them",
                  {.path = std::string(file.path())});
    if (!folder_) folder_ = Directory::open(parent_of(state_->path), opening_);
  }

  // Opens a single file, an index, or a part of a split.
  void open_file(std::shared_ptr<const Shard> shard) {
    const auto& catalog = shard->catalog;
    // The catalog decides, not the name: it shows whether the file names others.
    if (!catalog->tiled.empty() || !catalog->embedded.empty()) return open_distributed(shard);
    if (catalog->format == format::index_json_format.name) return open_index(shard);
    if (catalog->shards.empty() && catalog->located.empty()) {
      state_->shards.push_back(std::move(shard));
      if (std::string note = note_of_pieces(*state_->shards.front(), options_.limits); !note.empty())
        state_->notes.push_back(std::move(note));
      return add_all_tensors();
    }
    use_folder_beside(*shard->file);
    // Before any of them is opened: a small index can name millions of files.
    core::require_limit(catalog->shards.size(), options_.limits.shards, "the number of shards", "shards");
    open_split(shard);
  }

  void open_index(const std::shared_ptr<const Shard>& index) {
    use_folder_beside(*index->file);
    core::require_limit(index->catalog->shards.size(), options_.limits.shards, "the number of shards", "shards");
    const IndexFiles files = files_of_index(*folder_, *index);
    std::vector<std::uint32_t> numbers;
    for (const std::string& name : files.names) numbers.push_back(add_sibling(name, index->file->path()));
    add_origin(index->file->origin());
    open_shards();
    note_index(*index, files);
    // The index does not describe these parts, so that their own tensors are the model.
    if (files.is_stale) return add_all_tensors();
    for (const auto& shard : state_->shards)
      // An index that names an index could name itself.
      if (!shard->catalog->located.empty())
        throw Error(ErrorCode::corrupt, "expected a file of tensors, found another index",
                    {.path = std::string(shard->file->path())});
    merge_index(*state_, *index, numbers);
  }

  // Opens the index of a distributed checkpoint and its files.
  void open_distributed(const std::shared_ptr<const Shard>& index) {
    use_folder_beside(*index->file);
    std::vector<std::uint32_t> numbers;
    for (const std::string_view name : index->catalog->shards)
      numbers.push_back(add_sibling(std::string(name), index->file->path()));
    add_origin(index->file->origin());
    record::open_distributed(*state_, index, files_, numbers, options_);
    for (const std::string& note : index->catalog->notes) state_->notes.push_back(note);
  }

  // Refuses a file of a distributed checkpoint, which cannot be read without the index.
  void refuse_part_of_distributed() const {
    if (!state_->path.ends_with(".distcp")) return;
    throw Error(ErrorCode::unsupported,
                fmt::format("a part of a distributed checkpoint (torch.distributed.checkpoint), whose index is "
                            ".metadata beside it: open the folder '{}'",
                            core::escaped(parent_of(state_->path), 1000)),
                {.path = state_->path});
  }

  void note_index(const Shard& index, const IndexFiles& files) {
    const std::string path = core::escaped(index.file->path(), 1000);
    if (files.is_stale)
      state_->notes.push_back(fmt::format(
          "{}: not used: none of the {} files that it names is there ({}), the model is the set of {} parts that is",
          path, index.catalog->shards.size(), core::escaped(index.catalog->shards.front()), files.names.size()));
    if (!files.is_listed)
      state_->notes.push_back(
          fmt::format("the folder cannot be listed: {} may leave out weights that lie beside it", path));
    if (!files.unnamed.empty())
      state_->notes.push_back(fmt::format("{}: does not name {}, which {} left out", path, listed(files.unnamed),
                                          files.unnamed.size() == 1 ? "is" : "are"));
    // These have their note above, with the reason.
    std::erase_if(unused_, [&](const std::string& name) { return std::ranges::binary_search(files.unnamed, name); });
  }

  // Adds a note about other weights in the folder.
  void note_unused() {
    std::set<std::string_view> used;
    for (const std::string& name : named_) used.insert(name);
    std::erase_if(unused_, [&](const std::string& name) { return used.contains(name); });
    if (!unused_.empty())
      state_->notes.push_back(fmt::format("{}: not used: {}", core::escaped(folder_->path(), 1000), listed(unused_)));
  }

  // Opens a split by any of its parts, from which the names of the others follow. All parts must declare the same
  // split.
  void open_split(const std::shared_ptr<const Shard>& opened) {
    const format::Catalog& catalog = *opened->catalog;
    for (std::uint32_t part = 0; part < catalog.shards.size(); ++part) {
      const std::uint32_t number = part == catalog.split_index
                                       ? add_file(opened->file)
                                       : add_sibling(std::string(catalog.shards[part]), opened->file->path());
      // Two names of one file: below, the number of a part is the position of its shard.
      if (number != part)
        throw Error(ErrorCode::corrupt,
                    fmt::format("expected a file of its own for part {}, found that of part {}", part + 1, number + 1),
                    {.path = std::string(opened->file->path())});
    }
    open_shards();
    for (std::uint32_t part = 0; part < catalog.shards.size(); ++part)
      require_part(*state_->shards[part], catalog, part);
    add_all_tensors();
    if (catalog.split_tensors != 0 && catalog.split_tensors != state_->entries.size())
      throw Error(ErrorCode::corrupt,
                  fmt::format("expected {} tensors in {} parts, found {}", catalog.split_tensors, catalog.shards.size(),
                              state_->entries.size()),
                  {.path = state_->path});
  }

  static void require_part(const Shard& shard, const format::Catalog& whole, std::uint32_t part) {
    const format::Catalog& catalog = *shard.catalog;
    if (catalog.split_index == part && catalog.shards.size() == whole.shards.size() &&
        catalog.split_tensors == whole.split_tensors)
      return;
    const std::string found = catalog.split_index == format::none
                                  ? std::string("no part of a split")
                                  : fmt::format("part {} of {}", catalog.split_index + 1, catalog.shards.size());
    throw Error(ErrorCode::corrupt,
                fmt::format("expected part {} of {}, found {}", part + 1, whole.shards.size(), found),
                {.path = std::string(shard.file->path())});
  }

  // Opens a file beside the first and returns its number among the shards.
  std::uint32_t add_sibling(const std::string& name, std::string_view declared_in) {
    require_plain_name(name, declared_in);
    named_.push_back(name);
    return add_file(sibling(name));
  }

  // Returns the number of a file; the same for all names of one file.
  std::uint32_t add_file(std::shared_ptr<const Source> file) {
    // A file under two names is opened once. Sources without an identity are distinguished by their paths.
    const std::string& object = file->identity().object;
    const auto [known, is_new] = numbers_.try_emplace(object.empty() ? std::string(file->path()) : object,
                                                      static_cast<std::uint32_t>(files_.size()));
    if (is_new) files_.push_back(std::move(file));
    return known->second;
  }

  // Reads the catalogs of all added files in parallel.
  void open_shards() {
    state_->shards.resize(files_.size());
    // Opening waits for devices and servers more than for processors. Each step writes an element of its own.
    in_parallel(files_.size(), [this](std::size_t number) {
      state_->shards[number] = open_shard(files_[number], options_, state_->budget);
    });
  }

  [[nodiscard]] std::shared_ptr<const Source> sibling(const std::string& name) const {
    return followed(folder_->open_file(name), opening_.symlinks, *state_);
  }

  void add_all_tensors() {
    for (std::uint32_t shard = 0; shard < state_->shards.size(); ++shard) {
      const auto count = static_cast<std::uint32_t>(state_->catalog(shard).tensors.size());
      for (std::uint32_t entry = 0; entry < count; ++entry) state_->entries.push_back({shard, entry});
      for (const format::Joined& joined : state_->catalog(shard).joined) add_joined(*state_->shards[shard], joined);
    }
    state_->index_names();
  }

  void add_joined(const Shard& shard, const format::Joined& joined) {
    state_->entries.push_back({EntryRef::made, static_cast<std::uint32_t>(state_->made.size())});
    state_->made.push_back(join_runs(shard, joined));
  }

  void add_origin(std::optional<Origin> origin) {
    if (origin) state_->origins.push_back(*std::move(origin));
  }

  void list_origins() {
    for (const auto& shard : state_->shards) add_origin(shard->file->origin());
    if (state_->params) add_origin(state_->params->file->origin());
  }

  void add_values() {
    // All parts of a Meta folder have the same ones.
    const std::size_t shards = state_->params ? 1 : state_->shards.size();
    for (std::uint32_t shard = 0; shard < shards; ++shard)
      for (const format::Value& value : state_->catalog(shard).values)
        state_->values.push_back({value.name, shard, value.node});
  }

  static std::string parent_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  }

  const OpenOptions& options_;
  FileOpening opening_;
  std::shared_ptr<State> state_;
  std::shared_ptr<const Directory> folder_;  // null: that of a path to a file, until it is needed
  std::vector<std::shared_ptr<const Source>> files_;
  std::vector<std::string> named_;                // of all siblings opened
  std::vector<std::string> unused_;               // weights in the folder that were not chosen
  std::map<std::string, std::uint32_t> numbers_;  // places in `files_` by SourceIdentity::object, or by path
};

}  // namespace
}  // namespace record

Checkpoint open(const std::filesystem::path& path, const OpenOptions& options) {
  try {
    return Checkpoint(record::Opener(path.string(), options).open());
  } catch (const Error& error) {
    // Only where there is none: errors about a shard name the shard.
    throw error.with_path(path.string());
  }
}

Checkpoint open(const std::shared_ptr<const Storage>& storage, std::string_view name, const OpenOptions& options) {
  if (!storage) throw Error(ErrorCode::out_of_range, "expected a storage, found null");
  const std::string path(storage->path());
  try {
    return Checkpoint(record::Opener(path, options).open_in(storage, name));
  } catch (const Error& error) {
    throw error.with_path(path);
  }
}

Checkpoint open(Bytes bytes, const OpenOptions& options) {
  return Checkpoint(record::Opener(std::string(record::bytes_path), options).open_bytes(std::move(bytes)));
}

}  // namespace heft
