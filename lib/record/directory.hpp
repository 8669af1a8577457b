// record/directory.hpp: a folder on disk, or a Storage of the caller's, as open() looks for the files of a checkpoint
// in it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "heft/storage.hpp"
#include "mmap/file.hpp"
#include "record/source.hpp"

namespace heft::record {

/// A folder on disk as a Storage.
class FolderStorage final : public Storage {
 public:
  explicit FolderStorage(std::shared_ptr<const mmap::Folder> folder) noexcept : folder_(std::move(folder)) {}

  [[nodiscard]] std::string_view path() const noexcept override { return folder_->path(); }
  [[nodiscard]] std::vector<std::string> list() const override { return folder_->names(); }
  [[nodiscard]] std::shared_ptr<const ByteSource> open(std::string_view plain_name) const override;
  [[nodiscard]] std::shared_ptr<const Storage> folder(std::string_view plain_name) const override;
  [[nodiscard]] SourceIdentity identity_now(std::string_view plain_name) const override;

  [[nodiscard]] const std::shared_ptr<const mmap::Folder>& opened() const noexcept { return folder_; }

 private:
  std::shared_ptr<const mmap::Folder> folder_;
};

/// How files on disk are opened.
struct FileOpening {
  mmap::Symlinks symlinks = mmap::Symlinks::follow;
  std::shared_ptr<mmap::DescriptorPool> descriptors = mmap::DescriptorPool::for_shards();
};

/// Const members may be called from several threads.
class Directory : public std::enable_shared_from_this<Directory> {
 public:
  /// Opens a folder on disk. Throws Error{not_found, io}.
  static std::shared_ptr<const Directory> open(const std::string& path, const FileOpening& opening);
  /// A storage of the caller's. That of a folder on disk is read like one.
  static std::shared_ptr<const Directory> of(std::shared_ptr<const Storage> storage, const FileOpening& opening);

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Returns the path of `name` in it.
  [[nodiscard]] std::string path_of(std::string_view name) const;
  /// Returns the folder on disk, which alone has symlinks, and an identity of its own; null for a storage.
  [[nodiscard]] const mmap::Folder* on_disk() const noexcept { return folder_.get(); }
  /// Returns where freshness() finds the folder again; nothing for a storage.
  [[nodiscard]] std::optional<Origin> origin() const;

  /// Returns the names of files, and perhaps of folders, sorted. Throws Error{io}, and what the storage throws.
  [[nodiscard]] std::vector<std::string> names() const;
  /// Returns the same; nothing if the system or the storage refuses to list them.
  [[nodiscard]] std::optional<std::vector<std::string>> names_if_listed() const;
  /// Returns true if there is a file of that name. Throws what the storage throws.
  [[nodiscard]] bool has_file(const std::string& name) const;
  /// Returns true if there is a folder of that name. Throws what the storage throws.
  [[nodiscard]] bool has_folder(const std::string& name) const;
  /// Returns the target of the symlink of that name if the target does not exist; else nothing.
  [[nodiscard]] std::optional<std::string> broken_link(const std::string& name) const;

  /// Opens a file; `name` is plain. Throws Error{not_found, refused, io}, and what the storage throws.
  [[nodiscard]] std::shared_ptr<const Source> open_file(const std::string& name) const;
  /// Opens a folder inside; `name` is plain. Throws as open_file().
  [[nodiscard]] std::shared_ptr<const Directory> open_folder(const std::string& name) const;
  /// The same as has_file() and open_file() of the file `name` in the folder `folder` inside, which is not kept open.
  [[nodiscard]] bool has_file_in(const std::string& folder, const std::string& name) const;
  [[nodiscard]] std::shared_ptr<const Source> open_file_in(const std::string& folder, const std::string& name) const;

 private:
  Directory(std::shared_ptr<const mmap::Folder> folder, std::shared_ptr<const Storage> storage, FileOpening opening);

  std::shared_ptr<const mmap::Folder> folder_;  // null: in a storage
  std::shared_ptr<const Storage> storage_;      // null: on disk
  FileOpening opening_;
  std::string path_;
  std::optional<std::vector<std::string>> listed_;  // of the storage, sorted; nothing: it does not list
};

}  // namespace heft::record
