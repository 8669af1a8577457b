// mmap/file.hpp: opened files and folders. Together with mapping, residency and direct this room makes the only system calls on weight files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace heft::mmap {

/// What makes a file the same file. Recorded by fstat at open.
struct Identity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;
  friend bool operator==(const Identity&, const Identity&) noexcept = default;
};

/// A folder held by its descriptor, so that a rename of it cannot redirect the names looked up in it.
class Folder {
 public:
  /// Throws Error{not_found, io}.
  static std::shared_ptr<const Folder> open(const std::string& path);
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] int handle() const noexcept { return handle_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Names of its entries ('.' and '..' left out), sorted. Throws Error{io}.
  [[nodiscard]] std::vector<std::string> names() const;
  /// True when a regular file (after following symlinks) of that name is there.
  [[nodiscard]] bool has_file(const std::string& name) const noexcept;

 private:
  Folder(int handle, std::string path) noexcept : handle_(handle), path_(std::move(path)) {}
  int handle_;
  std::string path_;
};

/// Whether a symlink as the last component of a name is followed (Hugging Face caches need it) or refused.
enum class Symlinks : std::uint8_t { follow, refuse };

/// A regular file, opened read-only once (O_CLOEXEC, O_NONBLOCK, S_ISREG checked) and closed when its last owner goes. Immutable; const
/// methods may be called from several threads.
class File {
 public:
  /// Throws Error{not_found, refused (not a regular file, a symlink), io}; all carry path and errno.
  static std::shared_ptr<const File> open(const std::string& path, Symlinks symlinks = Symlinks::follow);
  /// `name` inside `folder`, by openat. The name has been checked by the caller.
  static std::shared_ptr<const File> open_in(const Folder& folder, const std::string& name, Symlinks symlinks = Symlinks::follow);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  [[nodiscard]] int handle() const noexcept { return handle_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const Identity& identity() const noexcept { return identity_; }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return identity_.size_bytes; }
  /// fstat again: still the same device, inode, size and mtime. (A file replaced by rename is another file: the old one stays whole.)
  [[nodiscard]] bool unchanged() const noexcept;

  /// Fills `into` from `offset` with pread; short reads and EINTR are continued, at most 0x7ffff000 bytes a call.
  /// Throws Error{out_of_range} unless the range lies in the size at open, Error{changed_on_disk} when the file ends before by now, Error{io}
  /// when the system fails; all with the offset.
  void read(std::uint64_t offset, std::span<std::byte> into) const;

 private:
  File(int handle, std::string path, Identity identity) noexcept
      : handle_(handle), path_(std::move(path)), identity_(identity) {}
  int handle_;
  std::string path_;
  Identity identity_;
};

}  // namespace heft::mmap
