// mmap/file.hpp: opened files and folders. All system calls on weight files are made in this room.
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

#include "heft/error.hpp"
#include "mmap/descriptor_pool.hpp"
#include "mmap/identity.hpp"

namespace heft::mmap {

/// Returns the identity of the file at `path`, after following symlinks; nothing when there is no such file. Throws
/// Error{io} when fstatat() fails.
[[nodiscard]] std::optional<Identity> identity_at(const std::string& path);

/// A folder held by its descriptor, so that a rename of the folder cannot redirect names that are looked up in it.
class Folder : public std::enable_shared_from_this<Folder> {
 public:
  /// Throws Error{not_found, io}.
  static std::shared_ptr<const Folder> open(const std::string& path);
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] int handle() const noexcept { return handle_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Returns the path of `name` in the folder.
  [[nodiscard]] std::string path_of(std::string_view name) const;
  /// Returns the identity at open.
  [[nodiscard]] const Identity& identity() const noexcept { return identity_; }
  /// Returns the names of the entries, sorted, without '.' and '..'. Throws Error{io}.
  [[nodiscard]] std::vector<std::string> names() const;
  /// Returns the same; nothing if the system refuses to list the folder.
  [[nodiscard]] std::optional<std::vector<std::string>> names_if_listed() const;
  /// Returns true when the folder contains a regular file of that name, after following symlinks.
  [[nodiscard]] bool has_file(const std::string& name) const noexcept;
  /// Returns true when the folder contains a folder of that name, after following symlinks.
  [[nodiscard]] bool has_folder(const std::string& name) const noexcept;
  /// Returns the target of the symlink of that name if the target does not exist; else nothing.
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

/// A second descriptor of an open file, with O_DIRECT, and the alignments in bytes that reads through it require.
struct DirectAccess {
  std::shared_ptr<const Descriptor> open;  ///< Null: none is kept.
  std::uint32_t memory_alignment = 0;
  std::uint32_t offset_alignment = 0;
};

/// A regular file, opened read-only (O_CLOEXEC, O_NONBLOCK, S_ISREG checked). Const methods can be called from several
/// threads.
///
/// The descriptor belongs to a pool, which can drop it in favour of other files; the next use opens the path again and
/// compares the identity. If the file changed, Error{changed_on_disk} is thrown before a byte of it is used.
class File {
 public:
  /// Opens `path`. The pool holds only this file, so that its descriptor is never dropped. Throws Error{not_found,
  /// refused (not a regular file, a symlink), io} with path and errno.
  static std::shared_ptr<const File> open(const std::string& path, Symlinks symlinks = Symlinks::follow);
  /// Opens `name` inside `folder` with openat; the name can lead through folders in it. The caller has checked the
  /// name. Keeps the folder, to open the file again. Without a pool the descriptor is never dropped. Throws as open().
  static std::shared_ptr<const File> open_in(const Folder& folder, const std::string& name,
                                             Symlinks symlinks = Symlinks::follow,
                                             std::shared_ptr<DescriptorPool> pool = nullptr);
  /// Opens the regular file of a descriptor of the caller's once more, through /proc/self/fd. `path` is its name for
  /// people. The new descriptor is never dropped. Throws as open().
  static std::shared_ptr<const File> of_descriptor(int descriptor, std::string path);
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  /// Returns the descriptor, which is open as long as the caller keeps it. Throws Error{changed_on_disk, io} if the
  /// file must be opened again and is another one, or cannot be opened.
  [[nodiscard]] std::shared_ptr<const Descriptor> descriptor() const;
  /// Returns what keep_direct() kept, for as long as the pool keeps its descriptor.
  [[nodiscard]] DirectAccess direct() const;
  /// Keeps direct access for the next user, with a descriptor of this very file.
  void keep_direct(DirectAccess access) const;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const Identity& identity() const noexcept { return identity_; }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return identity_.size_bytes; }
  /// Returns the place of an Error in this file. `os_error` is 0 for failures that are not the system's.
  [[nodiscard]] ErrorPlace at(int os_error, std::optional<std::uint64_t> offset = {}) const;
  /// Examines the open file again. Throws Error{changed_on_disk} with the message of difference() if the bytes can
  /// have changed, Error{io} if fstat() fails. A file that was removed, or replaced by a rename over it, keeps its
  /// bytes as long as it is open. So does a file that was itself renamed: a change of the ctime alone is taken for the
  /// rename when the path does not lead to the file any more.
  void require_unchanged() const;
  /// Returns false where require_unchanged() throws.
  [[nodiscard]] bool unchanged() const noexcept;

  /// Sets whether buffered reads read ahead; on at first. The setting is kept when the descriptor is dropped and the
  /// file opened again.
  void set_read_ahead(bool wanted) const noexcept;

  /// Fills `into` from `offset` with pread, at most 0x7ffff000 bytes per call. Continues short reads and EINTR. Throws
  /// Error{out_of_range} unless the range is inside the size at open, Error{changed_on_disk} if the file is shorter
  /// now, Error{io} if pread() fails; all with the offset.
  void read(std::uint64_t offset, std::span<std::byte> into) const;

 private:
  File(std::shared_ptr<const Folder> folder, std::string path, Symlinks symlinks, std::shared_ptr<DescriptorPool> pool);
  [[nodiscard]] std::shared_ptr<const Descriptor> open_again() const;

  std::shared_ptr<const Folder> folder_;  // null: path_ is relative to the working directory, or absolute
  std::string path_;
  Symlinks symlinks_;
  std::shared_ptr<DescriptorPool> pool_;
  Identity identity_;
  mutable std::mutex mutex_;
  mutable std::weak_ptr<const Descriptor> open_;    // owned by the pool and by callers
  mutable std::weak_ptr<const Descriptor> direct_;  // owned in the same way
  mutable DirectAccess direct_alignments_;          // of direct_, without a descriptor
  mutable bool reads_ahead_ = true;
};

}  // namespace heft::mmap
