// record/open.cpp: open(), which finds the files of a path, reads their catalogs and merges them into one table.
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
#include "record/distributed.hpp"
#include "record/folder.hpp"
#include "record/hub_cache.hpp"
#include "record/index.hpp"
#include "record/index_files.hpp"
#include "record/join.hpp"
#include "record/meta.hpp"
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
  Opener(const std::filesystem::path& path, const OpenOptions& options)
      : options_(options),
        symlinks_(options.follow_symlinks ? mmap::Symlinks::follow : mmap::Symlinks::refuse),
        state_(std::make_shared<State>()) {
    state_->path = path.string();
    state_->limits = options.limits;
    state_->budget = std::make_shared<core::MetadataBudget>(options.limits.metadata_memory_bytes);
    state_->values = core::Table<LeafValue>(state_->budget);
  }

  std::shared_ptr<const State> open() {
    std::error_code ignored;
    if (const std::string path = resolve(); std::filesystem::is_directory(path, ignored))
      open_folder(path);
    else {
      refuse_part_of_distributed();
      open_file(open_shard(followed(mmap::File::open(path, symlinks_), symlinks_, *state_), options_, state_->budget));
    }
    list_origins();
    require_one_model(state_->origins);
    note_unused();
    add_values();
    require_applicable();
    state_->describe_shards();
    state_->collect_notes();
    return state_;
  }

 private:
  // Returns the path itself, or the folder in the hub's cache of the model with that name.
  std::string resolve() {
    if (state_->path.empty())
      throw Error(ErrorCode::not_found, "expected the path of a checkpoint, found an empty one");
    std::error_code ignored;
    if (options_.hub_cache.empty() || std::filesystem::exists(std::filesystem::symlink_status(state_->path, ignored)))
      return state_->path;
    if (auto model = cached_model(options_.hub_cache, state_->path)) {
      state_->notes.push_back(
          fmt::format("'{}' is opened from the cache: {}", core::escaped(state_->path), core::escaped(*model, 1000)));
      return *model;
    }
    if (state_->path.find('/') == std::string::npos || !is_hub_name(state_->path)) return state_->path;
    throw Error(ErrorCode::not_found,
                fmt::format("no such file or folder, and no model of that name in the cache {}",
                            core::escaped(options_.hub_cache.string(), 1000)),
                {.path = state_->path});
  }

  void open_folder(const std::string& path) {
    use_folder(path);
    if (const auto snapshot = snapshot_of(*folder_, *state_)) use_folder(*snapshot);
    if (const auto latest = latest_universal(*folder_, *state_)) use_folder(*latest);
    if (const auto parameters = universal_parameters(*folder_)) {
      if (!options_.top_level_key.empty()) refuse_key("the names of a universal checkpoint are flat");
      return open_universal(*state_, *folder_, *parameters, options_, descriptors_);
    }
    Choice choice = choose(*folder_);
    unused_ = std::move(choice.unused);
    state_->notes.insert(state_->notes.end(), choice.notes.begin(), choice.notes.end());
    switch (choice.kind) {
      case Choice::Kind::file: return open_file(open_shard(sibling(choice.names.front()), options_, state_->budget));
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
        if (files_.size() != choice.names.size())
          throw Error(ErrorCode::ambiguous, "two consolidated parts are one file", {.path = folder_->path()});
        open_shards();
        state_->params = open_params(sibling("params.json"), options_, state_->budget);
        return merge_meta(*state_, *state_->params);
    }
  }

  void use_folder(const std::string& path) {
    folder_ = mmap::Folder::open(path);
    state_->origins.push_back({folder_->path(), folder_->identity()});
  }

  // Opens a single file, an index, or a part of a split.
  void open_file(std::shared_ptr<const Shard> shard) {
    const auto& catalog = shard->catalog;
    if (!catalog->tiled.empty() || !catalog->embedded.empty()) return open_distributed(shard);
    if (catalog->format == format::index_json_format.name) return open_index(shard);
    if (catalog->shards.empty() && catalog->located.empty()) {
      state_->shards.push_back(std::move(shard));
      if (std::string note = note_of_pieces(*state_->shards.front(), options_.limits); !note.empty())
        state_->notes.push_back(std::move(note));
      return add_all_tensors();
    }
    if (!folder_) folder_ = mmap::Folder::open(parent_of(state_->path));
    core::require_limit(catalog->shards.size(), options_.limits.shards, "the number of shards", "shards");
    open_split(shard);
  }

  void open_index(const std::shared_ptr<const Shard>& index) {
    if (!folder_) folder_ = mmap::Folder::open(parent_of(state_->path));
    core::require_limit(index->catalog->shards.size(), options_.limits.shards, "the number of shards", "shards");
    const IndexFiles files = files_of_index(*folder_, *index);
    std::vector<std::uint32_t> numbers;
    for (const std::string& name : files.names) numbers.push_back(add_sibling(name, index->file->path()));
    add_origin(*index->file);
    open_shards();
    note_index(*index, files);
    if (files.is_stale) return add_all_tensors();
    for (const auto& shard : state_->shards)
      if (!shard->catalog->located.empty())
        throw Error(ErrorCode::corrupt, "expected a file of tensors, found another index",
                    {.path = shard->file->path()});
    merge_index(*state_, *index, numbers);
  }

  // Opens the index of a distributed checkpoint and its files.
  void open_distributed(const std::shared_ptr<const Shard>& index) {
    if (!folder_) folder_ = mmap::Folder::open(parent_of(state_->path));
    std::vector<std::uint32_t> numbers;
    for (const std::string_view name : index->catalog->shards)
      numbers.push_back(add_sibling(std::string(name), index->file->path()));
    add_origin(*index->file);
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
      if (number != part)
        throw Error(ErrorCode::corrupt,
                    fmt::format("expected a file of its own for part {}, found that of part {}", part + 1, number + 1),
                    {.path = opened->file->path()});
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
                {.path = shard.file->path()});
  }

  // Opens a file beside the first and returns its number among the shards.
  std::uint32_t add_sibling(const std::string& name, const std::string& declared_in) {
    require_plain_name(name, declared_in);
    named_.push_back(name);
    return add_file(sibling(name));
  }

  // Returns the number of a file; the same for all names of one file.
  std::uint32_t add_file(std::shared_ptr<const mmap::File> file) {
    const auto [known, is_new] = numbers_.try_emplace({file->identity().device, file->identity().inode},
                                                      static_cast<std::uint32_t>(files_.size()));
    if (is_new) files_.push_back(std::move(file));
    return known->second;
  }

  // Reads the catalogs of all added files in parallel.
  void open_shards() {
    state_->shards.resize(files_.size());
    in_parallel(files_.size(), [this](std::size_t number) {
      state_->shards[number] = open_shard(files_[number], options_, state_->budget);
    });
  }

  [[nodiscard]] std::shared_ptr<const mmap::File> sibling(const std::string& name) const {
    return followed(mmap::File::open_in(*folder_, name, symlinks_, descriptors_), symlinks_, *state_);
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

  void add_origin(const mmap::File& file) { state_->origins.push_back({file.path(), file.identity()}); }

  void list_origins() {
    for (const auto& shard : state_->shards) add_origin(*shard->file);
    if (state_->params) add_origin(*state_->params->file);
  }

  void add_values() {
    // All parts of a Meta folder have the same ones.
    const std::size_t shards = state_->params ? 1 : state_->shards.size();
    for (std::uint32_t shard = 0; shard < shards; ++shard)
      for (const format::Value& value : state_->catalog(shard).values)
        state_->values.push_back({value.name, shard, value.node});
  }

  // Refuses an option that applies to none of the files.
  void require_applicable() const {
    const bool is_pytorch = state_->is_pytorch();
    if (!options_.top_level_key.empty() && !is_pytorch)
      fail_inapplicable(fmt::format("top_level_key '{}'", core::escaped(options_.top_level_key)), "a PyTorch file");
    if (options_.strict_globals && !is_pytorch) fail_inapplicable("strict_globals", "a PyTorch file or a pickle");
    if (options_.big_endian_default && !has_zips_of_pytorch())
      fail_inapplicable("big_endian_default", "a PyTorch zip, which may lack the record 'byteorder'");
  }

  [[noreturn]] void refuse_key(std::string_view why) const {
    throw Error(
        ErrorCode::out_of_range,
        fmt::format("top_level_key '{}': {}, there is no key to choose", core::escaped(options_.top_level_key), why),
        {.path = state_->path});
  }

  [[nodiscard]] bool has_zips_of_pytorch() const {
    return std::ranges::all_of(state_->shards, [](const auto& shard) {
      const std::string_view found = shard->catalog->format;
      return found == format::torch_zip_format.name || found == format::torch_dcp_format.name;
    });
  }

  [[noreturn]] void fail_inapplicable(std::string_view option, std::string_view expected) const {
    const std::string_view found =
        state_->shards.empty() ? std::string_view("another") : state_->shards.front()->catalog->format;
    throw Error(ErrorCode::out_of_range, fmt::format("{}: expected {}, this one is {}", option, expected, found),
                {.path = state_->path});
  }

  static std::string parent_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  }

  const OpenOptions& options_;
  mmap::Symlinks symlinks_;
  std::shared_ptr<State> state_;
  std::shared_ptr<const mmap::Folder> folder_;
  std::shared_ptr<mmap::DescriptorPool> descriptors_ = mmap::DescriptorPool::for_shards();
  std::vector<std::shared_ptr<const mmap::File>> files_;
  std::vector<std::string> named_;   // of all siblings opened
  std::vector<std::string> unused_;  // weights in the folder that were not chosen
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t> numbers_;  // places in `files_` by device and inode
};

}  // namespace
}  // namespace record

Checkpoint open(const std::filesystem::path& path, const OpenOptions& options) {
  try {
    return Checkpoint(record::Opener(path, options).open());
  } catch (const Error& error) {
    throw error.with_path(path.string());
  }
}

}  // namespace heft
