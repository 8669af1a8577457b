#include "save/shards.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <compare>
#include <optional>
#include <set>
#include <tuple>

#include "heft/error.hpp"
#include "heft/plan.hpp"
#include "mmap/unique_number.hpp"
#include "record/view_access.hpp"

namespace heft::writer {
namespace {

std::uint64_t written_bytes(const SaveItem& item) { return bytes_for(item.dtype, item.view.shape()); }

std::string stem_of(const std::string& name) { return name.substr(0, name.rfind('.')); }
std::string suffix_of(const std::string& name) { return name.substr(name.rfind('.')); }

std::vector<std::string> numbered(const std::string& stem, const std::string& suffix, std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = 1; i <= count; ++i) names.push_back(fmt::format("{}-{:05}-of-{:05}{}", stem, i, count, suffix));
  return names;
}

constexpr std::string_view index_suffix = ".index.json";

// Returns the names of the shards of the checkpoint that `index` describes; nothing when it cannot be opened.
std::optional<std::vector<std::string>> shards_of(const mmap::Folder& folder, const std::string& index) {
  const std::filesystem::path path = std::filesystem::path(folder.path()) / index;
  std::vector<std::string> names;
  try {
    const Checkpoint old = open(path, {.access = Access::read});  // only names are needed
    for (const ShardInfo& shard : old.shards()) names.push_back(std::filesystem::path(shard.path).filename().string());
  } catch (const Error& error) {
    // All other failures are about the file: it is no index, or shards of it are missing.
    if (error.code() == ErrorCode::out_of_memory) throw;
    return std::nullopt;
  }
  return names;
}

std::strong_ordering compare(const Dims& a, const Dims& b) noexcept {
  return std::lexicographical_compare_three_way(a.begin(), a.end(), b.begin(), b.end());
}

// Orders views by source, first byte, dtype and layout: equal when they view the same bytes in the same layout.
std::strong_ordering compare_places(const TensorView& a, const TensorView& b) noexcept {
  const auto place = [](const TensorView& view) {
    return std::tuple(ViewAccess::source(view).get(), ViewAccess::first_byte(view), view.dtype());
  };
  if (const auto order = place(a) <=> place(b); std::is_neq(order)) return order;
  if (const auto order = compare(a.shape(), b.shape()); std::is_neq(order)) return order;
  return compare(a.strides(), b.strides());
}

}  // namespace

std::vector<std::span<const SaveItem>> groups_of(std::span<const SaveItem> items, std::uint64_t max_bytes) {
  std::vector<std::span<const SaveItem>> groups;
  std::size_t begin = 0;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::uint64_t more = written_bytes(items[i]);
    // A file holds one tensor at least, however large. The difference does not wrap, as the first comparison shows.
    if (max_bytes != 0 && i != begin && (more > max_bytes || bytes > max_bytes - more)) {
      groups.push_back(items.subspan(begin, i - begin));
      begin = i;
      bytes = 0;
    }
    bytes += more;
  }
  groups.push_back(items.subspan(begin));
  return groups;
}

SaveNames shard_names(const mmap::Folder& folder, const std::string& name, std::size_t count) {
  SaveNames names;
  names.single = name;
  names.index = name + ".index.json";
  const auto there = folder.names_if_listed();
  const auto taken = [&](const std::string& shard) { return there && std::ranges::binary_search(*there, shard); };
  const auto unlike = [&] {
    return fmt::format("{}-{:08x}", stem_of(name), static_cast<std::uint32_t>(mmap::unique_number()));
  };
  // In a folder that cannot be listed, any name can be taken, so the names are random.
  // The usual names, unless one of them is taken: the old checkpoint must stay whole until the index is replaced, so
  // its shards cannot be overwritten.
  names.shards = numbered(there ? stem_of(name) : unlike(), suffix_of(name), count);
  while (std::ranges::any_of(names.shards, taken)) names.shards = numbered(unlike(), suffix_of(name), count);
  return names;
}

OldShards old_shards(const mmap::Folder& folder, const std::string& name) {
  OldShards old;
  const std::string index = name + std::string(index_suffix);
  if (!folder.has_file(index)) return old;
  old.index = index;
  // A checkpoint whose index cannot be read can be replaced, but its shards are not known and stay.
  auto shards = shards_of(folder, index);
  if (!shards) return old;
  const auto there = folder.names_if_listed();
  if (!there) return old;
  // Shards may be shared: those that another index of the folder names are not removed, nor is the file that was just
  // written.
  std::set<std::string> kept = {name};
  for (const std::string& other : *there) {
    if (!other.ends_with(index_suffix) || other == index) continue;
    const auto named = shards_of(folder, other);
    // An index that cannot be read may name any of the shards: all stay.
    if (!named) return old;
    kept.insert(named->begin(), named->end());
  }
  std::erase_if(*shards, [&](const std::string& shard) { return kept.contains(shard); });
  old.shards = *std::move(shards);
  return old;
}

std::vector<std::pair<std::string, std::string>> tied_items(std::span<const SaveItem> items) {
  std::vector<const SaveItem*> stored;
  for (const SaveItem& item : items)
    if (ViewAccess::source(item.view) && item.view.element_count() != 0) stored.push_back(&item);
  // Stable, so that the first of the caller's items is the one that the others are tied to.
  std::ranges::stable_sort(
      stored, [](const SaveItem* a, const SaveItem* b) { return std::is_lt(compare_places(a->view, b->view)); });
  std::vector<std::pair<std::string, std::string>> tied;
  const SaveItem* first = nullptr;
  for (const SaveItem* item : stored) {
    if (first != nullptr && std::is_eq(compare_places(first->view, item->view)))
      tied.emplace_back(item->view.name(), first->view.name());
    else
      first = item;
  }
  return tied;
}

void require_convertible(std::span<const SaveItem> items) {
  for (const SaveItem& item : items) {
    LoadPlan plan;
    // A plan for each item: names may repeat in different files, and only the conversion is in question.
    plan.add(item.view, item.dtype);
  }
}

}  // namespace heft::writer
