// heft/storage.hpp: where the files of a checkpoint are found by name: a folder, a bucket, a server, a map in memory.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "heft/export.hpp"
#include "heft/source.hpp"

namespace heft {

/// A folder of sources. open(storage, name) finds the files of a model in it as it does in a folder on disk: an index
/// and its shards, the numbered parts of a set, the only file with the suffix of a format.
///
/// The names that heft opens are plain: 1 to 255 bytes without '/', '\' and control characters, not "." or "..".
///
/// Threads: const members are called from several threads at once, up to eight of them by open(). A Checkpoint keeps
/// the storage alive, for freshness().
///
/// Example:
///   struct Shelf : heft::Storage {
///     std::map<std::string, std::shared_ptr<const heft::ByteSource>, std::less<>> files;
///     std::string_view path() const noexcept override { return "shelf"; }
///     std::vector<std::string> list() const override {
///       std::vector<std::string> names;
///       for (const auto& [name, file] : files) names.push_back(name);
///       return names;
///     }
///     std::shared_ptr<const heft::ByteSource> open(std::string_view name) const override {
///       const auto found = files.find(name);
///       if (found == files.end()) throw heft::Error(heft::ErrorCode::not_found, "no such file on the shelf");
///       return found->second;
///     }
///     std::shared_ptr<const heft::Storage> folder(std::string_view) const override {
///       throw heft::Error(heft::ErrorCode::not_found, "a shelf has no folders");
///     }
///     heft::SourceIdentity identity_now(std::string_view name) const override { return open(name)->identity(); }
///   };
class HEFT_API Storage {
 public:
  virtual ~Storage() = default;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  /// Returns the name for people and Errors: a path, a URL. Valid while the storage lives.
  [[nodiscard]] virtual std::string_view path() const noexcept = 0;
  /// Returns the names of all files, in any order; names of folders may be among them. Throws Error{unsupported} if
  /// they cannot be listed: then a checkpoint is opened by the name of its file or index, and weights beside it are not
  /// noticed.
  [[nodiscard]] virtual std::vector<std::string> list() const = 0;
  /// Opens a file. Throws Error{not_found} if there is none of that name, and the Error of any other failure.
  [[nodiscard]] virtual std::shared_ptr<const ByteSource> open(std::string_view plain_name) const = 0;
  /// Returns a folder inside. Throws Error{not_found} if there is none of that name, also where there are no folders.
  [[nodiscard]] virtual std::shared_ptr<const Storage> folder(std::string_view plain_name) const = 0;
  /// Returns the identity of the file that open() would open now; empty if there is none. Checkpoint::freshness()
  /// compares it with ByteSource::identity(), unless that is empty.
  [[nodiscard]] virtual SourceIdentity identity_now(std::string_view plain_name) const = 0;

 protected:
  Storage() = default;
};

/// Returns a folder on disk as a Storage, for a Storage of the caller's to stand on. It holds the folder open, so that
/// a rename does not redirect it, and follows symlinks of files. Its sources keep one descriptor each, and are not
/// mapped. Throws Error{not_found, io}.
[[nodiscard]] HEFT_API std::shared_ptr<const Storage> folder_storage(const std::filesystem::path& path);

}  // namespace heft
