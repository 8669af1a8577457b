#include "record/directory.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "heft/error.hpp"
#include "record/weight_names.hpp"

namespace heft {
namespace record {
namespace {

// Returns the result of `look`; nothing if it throws Error{not_found}.
template <class Look>
auto if_found(const Look& look) -> std::optional<decltype(look())> {
  try {
    return look();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    return std::nullopt;
  }
}

// Returns the sorted names; nothing if the storage does not list them.
std::optional<std::vector<std::string>> list_of(const Storage& storage) {
  try {
    std::vector<std::string> names = storage.list();
    std::ranges::sort(names);
    return names;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::unsupported) throw;
    return std::nullopt;
  }
}

// Opens a file of a folder on disk. `name` can lead through a folder inside.
std::shared_ptr<const Source> file_in(const std::shared_ptr<const mmap::Folder>& folder, const std::string& name,
                                      const FileOpening& opening) {
  return file_source(mmap::File::open_in(*folder, name, opening.symlinks, opening.descriptors));
}

}  // namespace

std::shared_ptr<const ByteSource> FolderStorage::open(std::string_view plain_name) const {
  require_plain_name(plain_name, folder_->path());
  // A single file of the caller's: without a pool its descriptor stays open.
  return file_in(folder_, std::string(plain_name), {.descriptors = nullptr});
}

std::shared_ptr<const Storage> FolderStorage::folder(std::string_view plain_name) const {
  require_plain_name(plain_name, folder_->path());
  return std::make_shared<FolderStorage>(mmap::Folder::open(folder_->path_of(plain_name)));
}

SourceIdentity FolderStorage::identity_now(std::string_view plain_name) const {
  require_plain_name(plain_name, folder_->path());
  const auto now = mmap::identity_at(folder_->path_of(plain_name));
  // Empty means that the file is gone.
  return now ? source_identity(*now) : SourceIdentity();
}

Directory::Directory(std::shared_ptr<const mmap::Folder> folder, std::shared_ptr<const Storage> storage,
                     FileOpening opening)
    : folder_(std::move(folder)),
      storage_(std::move(storage)),
      opening_(std::move(opening)),
      path_(folder_ ? folder_->path() : storage_->path()) {
  // Listed once: open() asks for many names, and each list of an object store takes requests.
  if (storage_) listed_ = list_of(*storage_);
}

std::shared_ptr<const Directory> Directory::open(const std::string& path, const FileOpening& opening) {
  return std::shared_ptr<const Directory>(new Directory(mmap::Folder::open(path), nullptr, opening));
}

std::shared_ptr<const Directory> Directory::of(std::shared_ptr<const Storage> storage, const FileOpening& opening) {
  // Heft's own storage is opened as the folder that it is: its files are mapped, keep a shared pool of descriptors, and
  // can have symlinks.
  if (const auto* const local = dynamic_cast<const FolderStorage*>(storage.get()))
    return std::shared_ptr<const Directory>(new Directory(local->opened(), nullptr, opening));
  return std::shared_ptr<const Directory>(new Directory(nullptr, std::move(storage), opening));
}

std::string Directory::path_of(std::string_view name) const {
  return fmt::format("{}{}{}", path_, path_.ends_with('/') ? "" : "/", name);
}

std::optional<Origin> Directory::origin() const {
  if (!folder_) return {};
  return Origin{.path = path_, .identity = folder_->identity()};
}

std::vector<std::string> Directory::names() const {
  if (folder_) return folder_->names();
  if (listed_) return *listed_;
  throw Error(ErrorCode::unsupported, "this storage does not list its files: name the file or the index to open",
              {.path = path_});
}

std::optional<std::vector<std::string>> Directory::names_if_listed() const {
  return folder_ ? folder_->names_if_listed() : listed_;
}

bool Directory::has_file(const std::string& name) const {
  if (folder_) return folder_->has_file(name);
  // A Storage has no call that tests for a file. Without a list, opening it is the test.
  if (listed_) return std::ranges::binary_search(*listed_, name);
  return if_found([&] { return storage_->open(name); }).has_value();
}

bool Directory::has_folder(const std::string& name) const {
  // The list of a storage need not contain folders (prefixes of an object store), so it is not consulted below.
  if (folder_) return folder_->has_folder(name);
  return if_found([&] { return storage_->folder(name); }).has_value();
}

std::optional<std::string> Directory::broken_link(const std::string& name) const {
  return folder_ ? folder_->broken_link(name) : std::nullopt;
}

std::shared_ptr<const Source> Directory::open_file(const std::string& name) const {
  if (folder_) return file_in(folder_, name, opening_);
  try {
    // The storage is kept in the origin: freshness() asks it for the identity of the name.
    auto source = storage_->open(name);
    Origin origin{.path = path_of(name), .storage = storage_, .name = name, .found = source->identity()};
    return external_source(std::move(source), std::move(origin));
  } catch (const Error& error) {
    // Keeps the path of an Error that has one.
    throw error.with_path(path_of(name));
  }
}

std::shared_ptr<const Directory> Directory::open_folder(const std::string& name) const {
  return folder_ ? open(path_of(name), opening_) : of(storage_->folder(name), opening_);
}

bool Directory::has_file_in(const std::string& folder, const std::string& name) const {
  // openat() resolves both names in one call; the folder in between is not opened.
  if (folder_) return folder_->has_file(folder + '/' + name);
  const auto inside = if_found([&] { return open_folder(folder); });
  return inside && (*inside)->has_file(name);
}

std::shared_ptr<const Source> Directory::open_file_in(const std::string& folder, const std::string& name) const {
  return folder_ ? file_in(folder_, folder + '/' + name, opening_) : open_folder(folder)->open_file(name);
}

}  // namespace record

std::shared_ptr<const Storage> folder_storage(const std::filesystem::path& path) {
  return std::make_shared<record::FolderStorage>(mmap::Folder::open(path.string()));
}

}  // namespace heft
