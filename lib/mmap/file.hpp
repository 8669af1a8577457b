// mmap/file.hpp: opened files and folders. Together with mapping, residency and direct this room makes the only system calls on weight files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mmap/descriptor_pool.hpp"

namespace heft::mmap {

/// Which file it is, and how it stood when it was looked at.
struct Identity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;  ///< Moves with the bytes; a writer can set it back.
  std::int64_t ctime_ns = 0;  ///< Moves with the bytes and with what follows; no call sets it.
  std::uint64_t nlink = 0;
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  friend bool operator==(const Identity&, const Identity&) noexcept = default;

  [[nodiscard]] bool is_same_file(const Identity& other) const noexcept {
    return device == other.device && inode == other.inode;
  }
};

/// The first sign that the bytes of a file are not those that it had at `opened`, as a sentence: "expected size 12 as
/// when it was opened, found 13". Empty: there is none.
///
/// A ctime that moved alone is such a sign: the file was written to and its mtime set back. One that moved with the
/// number of links, the mode or the owner is none: link(2), chmod(2) and chown(2) move it, and so does a rename over the
/// file, which takes away a link.
[[nodiscard]] std::string difference(const Identity& opened, const Identity& now);

/// What lies at `path` now, symlinks followed; nothing where there is no such file. Throws Error{io} where it
/// cannot be examined.
[[nodiscard]] std::optional<Identity> identity_at(const std::string& path);

/// A folder held by its descriptor, so that a rename of it cannot redirect the names looked up in it.
class Folder : public std::enable_shared_from_this<Folder> {
 public:
  /// Throws Error{not_found, io}.
  static std::shared_ptr<const Folder> open(const std::string& path);
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] int handle() const noexcept { return handle_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// As it was when it was opened.
  [[nodiscard]] const Identity& identity() const noexcept { return identity_; }
  /// Names of its entries ('.' and '..' left out), sorted. Throws Error{io}.
  [[nodiscard]] std::vector<std::string> names() const;
  /// True when a regular file (after following symlinks) of that name is there.
  [[nodiscard]] bool has_file(const std::string& name) const noexcept;
  /// The same for a folder.
  [[nodiscard]] bool has_folder(const std::string& name) const noexcept;
  /// The target of a symlink of that name when nothing is there; nothing otherwise.
  [[nodiscard]] std::optional<std::string> broken_link(const std::string& name) const;

 private:
  Folder(int handle, std::string path, Identity identity) noexcept
      : handle_(handle), path_(std::move(path)), identity_(identity) {}
  int handle_;
  std::string path_;
  Identity identity_;
};

/// Whether a symlink as the last component of a name is followed (Hugging Face caches need it) or refused.
enum class Symlinks : std::uint8_t { follow, refuse };

/// A regular file, opened read-only (O_CLOEXEC, O_NONBLOCK, S_ISREG checked). Const methods may be called from several
/// threads.
///
/// Its descriptor is a pool's, which may give it up for those of other files; then it is opened again when it is needed.
/// What is found at the path has to be the file as it was, or it is Error{changed_on_disk} before a byte of it is used.
class File {
 public:
  /// Throws Error{not_found, refused (not a regular file, a symlink), io}; all carry path and errno. Has a descriptor of its
  /// own, which it never gives up.
  static std::shared_ptr<const File> open(const std::string& path, Symlinks symlinks = Symlinks::follow);
  /// `name` inside `folder`, by openat. The name has been checked by the caller. Keeps the folder, in which it is opened
  /// again. Without a pool it has a descriptor of its own.
  static std::shared_ptr<const File> open_in(const Folder& folder, const std::string& name, Symlinks symlinks = Symlinks::follow,
                                             std::shared_ptr<DescriptorPool> pool = nullptr);
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  /// The open file, as long as the caller keeps it. Throws Error{changed_on_disk, io} where it must be opened again and is
  /// not the same, or cannot be.
  [[nodiscard]] std::shared_ptr<const Descriptor> descriptor() const;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const Identity& identity() const noexcept { return identity_; }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return identity_.size_bytes; }
  /// Looks at the open file again, and throws Error{changed_on_disk} where difference() finds that its bytes may be
  /// others by now, with what it found; Error{io} where it cannot be examined. A file that was replaced by a rename, or
  /// removed, is whole as long as it is open. One that was renamed itself is too: where the ctime moved alone and the path
  /// does not lead to the file any more, it was the rename that moved it.
  void require_unchanged() const;
  /// False where require_unchanged() throws.
  [[nodiscard]] bool unchanged() const noexcept;

  /// Whether buffered reads go on reading ahead of what is asked, as they do at first. Holds until it is set again, also where
  /// the file is given up and opened again meanwhile.
  void set_read_ahead(bool wanted) const noexcept;

  /// Fills `into` from `offset` with pread; short reads and EINTR are continued, at most 0x7ffff000 bytes a call.
  /// Throws Error{out_of_range} unless the range lies in the size at open, Error{changed_on_disk} when the file ends before by now, Error{io}
  /// when the system fails; all with the offset.
  void read(std::uint64_t offset, std::span<std::byte> into) const;

 private:
  File(std::shared_ptr<const Folder> folder, std::string path, Symlinks symlinks, std::shared_ptr<DescriptorPool> pool);
  [[nodiscard]] std::shared_ptr<const Descriptor> open_again() const;

  std::shared_ptr<const Folder> folder_;  // null: the path leads to it from where the process is
  std::string path_;
  Symlinks symlinks_;
  std::shared_ptr<DescriptorPool> pool_;
  Identity identity_;
  mutable std::mutex mutex_;
  mutable std::weak_ptr<const Descriptor> open_;  // the pool's
  mutable bool reads_ahead_ = true;
};

}  // namespace heft::mmap
