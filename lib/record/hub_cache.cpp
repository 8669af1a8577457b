#include "record/hub_cache.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "core/text.hpp"
#include "heft/error.hpp"
#include "record/weight_names.hpp"

namespace heft::record {
namespace {

constexpr std::size_t max_commit_bytes = 256;
constexpr std::string_view blobs_from_snapshot = "../../blobs/";

// Returns the path of `name` in `folder`.
std::string inside(const std::string& folder, std::string_view name) {
  return fmt::format("{}{}{}", folder, folder.ends_with('/') ? "" : "/", name);
}

// Returns the file's text without trailing line ends.
std::string short_text(const mmap::File& file) {
  // The file of that name can be any file, so only as many bytes are read as a commit or a link has.
  std::string text(std::min<std::uint64_t>(file.size_bytes(), max_commit_bytes), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

// Returns true for "models--NAME", with which huggingface_hub names the folder of a model.
bool is_model_folder(const std::filesystem::path& path) {
  // A path that ends with a slash has no filename.
  return (path.has_filename() ? path : path.parent_path()).filename().string().starts_with("models--");
}

// Returns the commit in refs/main; empty if there is none.
std::string main_commit(const mmap::Folder& folder, State& state) {
  if (!folder.has_folder("refs")) return {};
  const auto refs = mmap::Folder::open(inside(folder.path(), "refs"));
  if (!refs->has_file("main")) return {};
  const auto file = mmap::File::open_in(*refs, "main");
  // A new download moves refs/main to another snapshot, which freshness() then reports.
  state.origins.push_back({file->path(), file->identity()});
  std::string commit = short_text(*file);
  // The text becomes a name in `snapshots`, and must not lead out of it.
  require_plain_name(commit, file->path());
  return commit;
}

}  // namespace

std::optional<std::string> snapshot_of(const mmap::Folder& folder, State& state) {
  // A folder called "snapshots" alone can be the user's own.
  const bool is_cached = folder.has_folder("refs") || folder.has_folder("blobs");
  if (is_cached && !folder.has_folder("snapshots") && is_model_folder(folder.path()))
    throw Error(ErrorCode::not_found,
                "expected a snapshot in this folder of a cache, found none: the download was interrupted, download the "
                "model again",
                {.path = folder.path()});
  if (!is_cached || !folder.has_folder("snapshots")) return {};
  const auto snapshots = mmap::Folder::open(inside(folder.path(), "snapshots"));
  std::vector<std::string> names = snapshots->names();
  // Files beside the snapshots (.DS_Store) are no snapshots.
  std::erase_if(names, [&](const std::string& name) { return !snapshots->has_folder(name); });
  if (names.empty())
    throw Error(ErrorCode::not_found,
                "expected a snapshot in this folder of a cache, found none: download the model again",
                {.path = folder.path()});
  const std::string commit = main_commit(folder, state);
  // Without refs/main, a download by commit, no snapshot is the right one.
  if (commit.empty() && names.size() > 1)
    throw Error(ErrorCode::ambiguous,
                fmt::format("expected one snapshot or refs/main, found {} snapshots: {}; open one of them",
                            names.size(), listed(names)),
                {.path = snapshots->path()});
  const std::string& chosen = commit.empty() ? names.front() : commit;
  // names() returns sorted names, and erase_if() keeps their order.
  if (!std::ranges::binary_search(names, chosen))
    throw Error(ErrorCode::not_found,
                fmt::format("refs/main names the snapshot '{}', which is not there; there are: {}",
                            core::escaped(chosen), listed(names)),
                {.path = folder.path()});
  if (names.size() > 1)
    state.notes.push_back(
        fmt::format("of {} snapshots, that of refs/main is opened: '{}'", names.size(), core::escaped(chosen)));
  return inside(snapshots->path(), chosen);
}

std::shared_ptr<const Source> followed(std::shared_ptr<const Source> file, mmap::Symlinks symlinks, State& state) {
  const std::filesystem::path snapshot = std::filesystem::path(file->path()).parent_path();
  // Sources of a storage have no symlinks. Weights are larger than the text of a link, so that only tiny files are
  // read.
  if (file->file() == nullptr || file->size_bytes() > max_commit_bytes ||
      snapshot.parent_path().filename() != "snapshots")
    return file;
  const std::string target = short_text(*file->file());
  // A small file that is no link, such as a config, is opened as it is.
  if (!target.starts_with(blobs_from_snapshot)) return file;
  const std::string blob = target.substr(blobs_from_snapshot.size());
  require_plain_name(blob, file->path());
  if (symlinks == mmap::Symlinks::refuse)
    throw Error(ErrorCode::refused, "expected a regular file, found the text of a symlink",
                {.path = std::string(file->path())});
  const std::string blobs = (snapshot / "../../blobs").string();
  // Asked before the folder is opened, whose Error would name the folder, not this file.
  if (std::error_code ignored;
      !std::filesystem::is_directory(blobs, ignored) || !mmap::Folder::open(blobs)->has_file(blob))
    throw Error(ErrorCode::not_found,
                fmt::format("this is the text of a symlink to '{}', which is not there: the download was interrupted, "
                            "download it again",
                            core::escaped(target)),
                {.path = std::string(file->path())});
  state.notes.push_back(
      fmt::format("{}: holds the text of a symlink, '{}', as a copy without symlinks leaves it: that file is opened",
                  core::escaped(file->path(), 1000), core::escaped(target)));
  return file_source(mmap::File::open_in(*mmap::Folder::open(blobs), blob, symlinks));
}

bool is_hub_name(std::string_view path) noexcept {
  const auto is_part = [](std::string_view part) {
    return !part.empty() && part.front() != '.' && part.front() != '-' && std::ranges::all_of(part, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
             c == '.';
    });
  };
  const std::size_t slash = path.find('/');
  // Old models of the hub have no organization ("gpt2").
  return slash == path.npos ? is_part(path) : is_part(path.substr(0, slash)) && is_part(path.substr(slash + 1));
}

std::optional<std::string> cached_model(const std::filesystem::path& cache, std::string_view path) {
  if (cache.empty() || !is_hub_name(path)) return {};
  std::string name = "models--";
  // huggingface_hub writes the slash as two dashes.
  for (const char c : path) name += c == '/' ? std::string("--") : std::string(1, c);
  const std::string folder = (cache / name).string();
  std::error_code ignored;
  return std::filesystem::is_directory(folder, ignored) ? std::optional(folder) : std::nullopt;
}

}  // namespace heft::record
