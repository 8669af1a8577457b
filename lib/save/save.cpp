// Saving runs on materialize(): conversion, gathering and direct reads are the same for bytes that end in a file. The
// layout of a file comes from the format room (file_plan.hpp), its name from the mmap room (scratch_file.hpp).
//
//   items -> groups, one per file -> file plans -> scratch files, written and synced
//         -> shards renamed          up to here the old checkpoint is unchanged
//         -> index renamed           from here on the new one is complete
//         -> old files removed
#include "heft/save.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "core/text.hpp"
#include "format/file_plan.hpp"
#include "heft/error.hpp"
#include "materialize/load_monitor.hpp"
#include "materialize/repeated_bytes.hpp"
#include "mmap/scratch_file.hpp"
#include "record/leaf_walk.hpp"
#include "record/left_out.hpp"
#include "save/dtypes.hpp"
#include "save/layout.hpp"
#include "save/metadata.hpp"
#include "save/payloads.hpp"
#include "save/shards.hpp"

namespace heft {
namespace writer {
namespace {

using Clock = std::chrono::steady_clock;

// Max files that are complete and wait for the others; each holds a descriptor. With more shards, the first ones are
// renamed early, to names that no other file has.
constexpr std::size_t max_held = 64;

// A file of the new checkpoint, complete except for its name.
struct Ready {
  mmap::ScratchFile file;
  SavedFile report;
};

class Save {
 public:
  Save(std::span<const SaveItem> items, SaveTarget target, const SaveOptions& options)
      : items_(items), target_(std::move(target)), options_(options) {}

  SaveReport run() {
    const auto begin = Clock::now();
    // All checks come first, the cheapest before the others: nothing on disk is touched before folder_ is opened.
    require_dtypes(items_, *target_.format->writer);
    require_convertible(items_);
    // Views that share bytes are written once each, so a small source can become a huge file: the limit is for all
    // files together.
    engine::RepeatedBytes repeated(options_.limits.repeated_bytes);
    for (const SaveItem& item : items_) repeated.add(item.view);
    plan();
    report_.tied = tied_items(items_);
    report_.tensors = items_.size();
    report_.files.reserve(groups_.size() + 1);  // so that recording a renamed file cannot fail
    folder_ = mmap::Folder::open(target_.path.has_parent_path() ? target_.path.parent_path().string() : ".");
    // Scratch files of killed saves, which exist on file systems without unnamed files: they are removed first, so that
    // this save can use their space.
    mmap::remove_dead_scratch(*folder_, target_.path.stem().string());
    if (groups_.size() == 1 && !target_.indexed)
      replace_file();
    else
      replace_shards();
    report_.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    return std::move(report_);
  }

 private:
  // Makes every check of items and options, before the destination's folder is opened.
  void plan() {
    groups_ = groups_of(items_, options_.shard_bytes);
    const format::FileLayout layout =
        target_.format->writer->layout(metadata_of(items_, options_), options_.limits, report_.notes);
    for (const std::span<const SaveItem> group : groups_) {
      std::vector<format::TensorDeclaration> tensors;
      tensors.reserve(group.size());
      // The layout refers to the items by position, so the specs are in their order.
      for (const SaveItem& item : group)
        tensors.push_back({std::string(item.view.name()), item.dtype, item.view.shape()});
      plans_.push_back(layout(tensors));
      for (const format::Payload& payload : plans_.back().payloads) report_.tensor_bytes += payload.size;
    }
    // The index maps each name to one shard.
    if (groups_.size() > 1) require_names_once();
    for (const format::FilePlan& file : plans_) mmap::require_file_size(target_.path.string(), file.size_bytes);
  }

  // Checks names across files; the file plan checks those within one file.
  void require_names_once() const {
    std::vector<std::string_view> names;
    names.reserve(items_.size());
    for (const SaveItem& item : items_) names.push_back(item.view.name());
    // Sorted copies: the items keep the caller's order, which is that of the file.
    std::ranges::sort(names);
    if (const auto twin = std::ranges::adjacent_find(names); twin != names.end())
      throw Error(ErrorCode::ambiguous, "expected each name once, found it twice among the tensors to be written",
                  {.tensor = std::string(*twin)});
  }

  void replace_file() {
    const std::string name = target_.path.filename().string();
    // Read while the old checkpoint is whole: the rename replaces its file.
    const OldShards old = old_shards(*folder_, name);
    Ready ready = write(0, name);
    publish(ready);
    // The new name is on the device before the old files are removed: after a power failure one of the two checkpoints
    // is whole.
    settle();
    remove(old);
  }

  void replace_shards() {
    const std::string name = target_.path.filename().string();
    const OldShards old = old_shards(*folder_, name);
    const SaveNames names = shard_names(*folder_, name, groups_.size());
    try {
      std::deque<Ready> shards;
      for (std::size_t i = 0; i < groups_.size(); ++i) {
        // Safe before the index exists: no index names these files, and readers do not find them.
        if (shards.size() == max_held) publish_first(shards);
        shards.push_back(write(i, names.shards[i]));
      }
      // Before the shards get their names: a full disk is found while withdraw() has least to remove.
      Ready index = write_index(names);
      while (!shards.empty()) publish_first(shards);
      settle();  // the shards must be on the device before the index, or a power failure can leave the index alone
      publish(index);
    } catch (...) {
      withdraw(names.shards);
      throw;
    }
    // Outside the try: the index names the shards now, so that a failure must not remove them.
    settle();
    for (const std::string& shard : old.shards) remove_unused(shard);
    // Last: a file of a save without shards, which would stand beside the index as a second checkpoint.
    remove(names.single);
  }

  void publish_first(std::deque<Ready>& shards) {
    publish(shards.front());
    shards.pop_front();
  }

  // Removes the index and the shards of the replaced checkpoint. The index first, because opening an index without its
  // shards is an error.
  void remove(const OldShards& old) {
    if (!old.index.empty()) remove(old.index);
    for (const std::string& shard : old.shards) remove_unused(shard);
  }

  // Removes shards that were already renamed. No index names them, so no reader uses them.
  void withdraw(std::span<const std::string> shards) noexcept {
    // Shards are renamed in order, and recorded when they are: those that have their names are the first ones.
    for (const std::string& shard : shards.first(std::min(shards.size(), report_.files.size()))) {
      try {
        mmap::remove_file(*folder_, shard);
      } catch (const std::exception&) {
        // The failure that caused the removal is reported instead.
      }
    }
  }

  Ready write(std::size_t number, const std::string& name) {
    mmap::ScratchFile file = mmap::ScratchFile::create(folder_, name);
    write_file(file, plans_[number], groups_[number], options_, [this](std::uint64_t bytes) { advance(bytes); });
    return finished(std::move(file), plans_[number].size_bytes, groups_[number].size());
  }

  Ready write_index(const SaveNames& names) {
    std::vector<std::pair<std::string, std::string>> map;
    map.reserve(items_.size());
    for (std::size_t i = 0; i < groups_.size(); ++i)
      for (const SaveItem& item : groups_[i]) map.emplace_back(item.view.name(), names.shards[i]);
    std::ranges::sort(map);
    const std::string text = target_.format->writer->index(report_.tensor_bytes, map);
    mmap::ScratchFile file = mmap::ScratchFile::create(folder_, names.index);
    // A full disk is an error before the text is written in part.
    file.reserve(text.size());
    file.write(0, std::as_bytes(std::span(text)));
    return finished(std::move(file), text.size(), 0);
  }

  Ready finished(mmap::ScratchFile file, std::uint64_t size, std::size_t tensors) {
    // Before the rename: a file system may write the name to the device before the bytes, and a power failure would
    // leave a name without them.
    if (options_.sync) file.sync();
    file.finish();
    for (const std::string& note : file.notes()) engine::add_note(report_.notes, note);
    SavedFile report{.path = file.path(), .size_bytes = size, .tensors = tensors};
    return {std::move(file), std::move(report)};
  }

  void publish(Ready& ready) {
    ready.file.publish();
    report_.files.push_back(std::move(ready.report));
  }

  void settle() {
    if (!options_.sync) return;
    if (std::string note = mmap::sync_folder(*folder_); !note.empty()) engine::add_note(report_.notes, std::move(note));
  }

  // Removes a file that no index names. A failure is a note, because the file occupies space but affects no reader.
  void remove_unused(const std::string& name) {
    try {
      remove(name);
    } catch (const Error& error) {
      // Only the removal itself may fail: a stop request or missing memory still ends the save.
      if (error.code() != ErrorCode::io) throw;
      engine::add_note(report_.notes, fmt::format("{}: no index names the file any more, and it stays", error.what()));
    }
  }

  void remove(const std::string& name) {
    if (!folder_->has_file(name)) return;
    mmap::remove_file(*folder_, name);
    report_.removed.push_back((target_.path.parent_path() / name).string());
  }

  void advance(std::uint64_t bytes) {
    written_ += bytes;
    // All bytes are written on the calling thread, so that neither the sum nor the caller's function needs a lock.
    if (options_.progress) options_.progress({.bytes_done = written_, .bytes_total = report_.tensor_bytes});
  }

  std::span<const SaveItem> items_;
  SaveTarget target_;
  const SaveOptions& options_;
  std::vector<std::span<const SaveItem>> groups_;
  std::vector<format::FilePlan> plans_;  // parallel to groups_
  std::shared_ptr<const mmap::Folder> folder_;
  std::uint64_t written_ = 0;
  SaveReport report_;
};

// The tensors of a subtree, and the values that are not saved.
struct Found {
  std::vector<SaveItem> items;
  std::size_t others = 0;
  std::vector<std::string> names;  // of the first `others`
};

Found tensors_under(const Record& root) {
  Found found;
  record::LeafWalk walk(root, "");
  for (record::Leaf leaf; walk.next(leaf);) {
    if (leaf.record.kind() == RecordKind::tensor)
      found.items.emplace_back(leaf.record.tensor().renamed(leaf.path));
    else if (!record::is_container(leaf.record) && ++found.others <= record::max_names_listed)
      found.names.push_back(leaf.path);
  }
  // A tree that is larger than the limits of a walk is refused, not saved in part.
  walk.require_whole();
  return found;
}

}  // namespace
}  // namespace writer

SaveReport save(std::span<const SaveItem> items, const std::filesystem::path& path, const SaveOptions& options) {
  try {
    return writer::Save(items, writer::target_of(path, options), options).run();
  } catch (const Error& error) {
    // Only where there is none: errors of reading name the file that is read.
    throw error.with_path(path.string());
  }
}

SaveReport save(const Checkpoint& checkpoint, const std::filesystem::path& path, const SaveOptions& options) {
  std::vector<SaveItem> items;
  for (TensorView view : checkpoint.tensors()) items.emplace_back(std::move(view));
  SaveOptions keeping = options;
  // The checkpoint's own metadata, unless the caller chose other.
  if (keeping.keep_metadata.kind() == RecordKind::null) keeping.keep_metadata = checkpoint.metadata();
  SaveReport report = save(items, path, keeping);
  if (auto note = record::values_left_out(checkpoint)) report.notes.push_back(std::move(*note));
  return report;
}

SaveReport save(const Record& record, const std::filesystem::path& path, const SaveOptions& options) {
  if (record.kind() != RecordKind::map && record.kind() != RecordKind::list)
    throw Error(ErrorCode::type_mismatch, fmt::format("expected a map or a list to save, '{}' is {}",
                                                      core::escaped(record.path()), name(record.kind())));
  const writer::Found found = writer::tensors_under(record);
  SaveReport report = save(found.items, path, options);
  if (found.others != 0) report.notes.push_back(record::values_sentence(found.others, found.names));
  return report;
}

SaveReport save(const Weights& weights, const std::filesystem::path& path, const SaveOptions& options) {
  std::vector<SaveItem> items;
  // Views of the loaded memory, which they keep: nothing is copied before the file is written.
  for (const Tensor& tensor : weights) items.emplace_back(tensor.view().renamed(tensor.name()));
  return save(items, path, options);
}

}  // namespace heft
