#include "record/index_files.hpp"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "heft/error.hpp"
#include "record/weight_names.hpp"

namespace heft::record {
namespace {

// Returns the ending with its dot; empty for a name without one.
std::string_view ending(std::string_view name) noexcept {
  const std::size_t dot = name.rfind('.');
  return dot == name.npos ? std::string_view() : name.substr(dot);
}

// Returns those of `found`, which is sorted, that are weights with the ending of one of `names`.
std::vector<std::string> weights_like(const Directory& folder, std::vector<std::string> found,
                                      const std::vector<std::string>& names) {
  std::set<std::string_view> endings;
  for (const std::string& name : names) endings.insert(ending(name));
  std::erase_if(found, [&](const std::string& name) {
    return name.starts_with('.') || is_index(name) || is_helper(name) || !endings.contains(ending(name)) ||
           !folder.has_file(name);
  });
  return found;
}

// Returns the names of `all`, which is sorted, that `taken` does not contain.
std::vector<std::string> without(std::vector<std::string> all, std::vector<std::string> taken) {
  std::ranges::sort(taken);
  std::vector<std::string> left;
  std::ranges::set_difference(all, taken, std::back_inserter(left));
  return left;
}

// Returns "; beside it lies 'x', which can be opened by its name"; empty if no weights lie there.
std::string beside(const Directory& folder) {
  std::vector<std::string> names = folder.names();
  std::erase_if(
      names, [&](const std::string& name) { return !is_weights(name) || is_helper(name) || !folder.has_file(name); });
  if (names.empty()) return {};
  const bool one = names.size() == 1;
  return fmt::format("; beside it {} {}, which can be opened by {} name{}", one ? "lies" : "lie", listed(names),
                     one ? "its" : "their", one ? "" : "s");
}

// Throws the Error of an index without tensors, with the weights beside it.
[[noreturn]] void fail_empty(const Directory& folder, const Shard& index) {
  throw Error(ErrorCode::corrupt, "the index names no tensor" + beside(folder),
              {.path = std::string(index.file->path())});
}

// Throws the Error of an index whose shards are missing in part, or all.
[[noreturn]] void fail_missing(const Directory& folder, const Shard& index, std::size_t count,
                               const std::vector<std::string>& missing) {
  const std::string shards = count == 1 ? "the shard that the index names is"
                                        : fmt::format("{} of the {} shards that the index names {}", missing.size(),
                                                      count, missing.size() == 1 ? "is" : "are");
  throw Error(ErrorCode::not_found,
              fmt::format("{} missing: {}: the download is incomplete{}", shards, listed(missing),
                          missing.size() == count ? beside(folder) : ""),
              {.path = std::string(index.file->path())});
}

}  // namespace

IndexFiles files_of_index(const Directory& folder, const Shard& index) {
  if (index.catalog->located.empty()) fail_empty(folder, index);
  IndexFiles files;
  std::vector<std::string> missing;
  for (const std::string_view shard : index.catalog->shards) {
    const std::string& name = files.names.emplace_back(shard);
    // The name comes from the file, and must not lead out of the folder.
    require_plain_name(name, index.file->path());
    if (!folder.has_file(name)) missing.push_back(name);
  }
  // Shards are opened by name. The list only serves the notes, and the search for a set that replaces a stale index.
  auto there = folder.names_if_listed();
  files.is_listed = there.has_value();
  std::vector<std::string> all =
      weights_like(folder, std::move(there).value_or(std::vector<std::string>()), files.names);
  // None of the shards is there: the index belongs to another upload if one complete set of parts is.
  if (missing.size() == files.names.size()) {
    auto sets = part_sets(all);
    // Two complete sets leave open which one is the model, and none is a download that was interrupted.
    std::erase_if(sets, [](const PartSet& set) { return !set.is_complete(); });
    if (sets.size() != 1) fail_missing(folder, index, files.names.size(), missing);
    files.names = std::move(sets.front().names);
    files.is_stale = true;
  } else if (!missing.empty()) {
    fail_missing(folder, index, files.names.size(), missing);
  }
  // For a note: weights beside the index that nothing refers to.
  files.unnamed = without(std::move(all), files.names);
  return files;
}

}  // namespace heft::record
