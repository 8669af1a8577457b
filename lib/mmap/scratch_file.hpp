// mmap/scratch_file.hpp: a file that gets its name only when it is complete.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mmap/file.hpp"

namespace heft::mmap {

/// A file being written in the folder where it will be NAME. A reader of NAME sees the old file or, after publish(),
/// the complete new one; a mapping of the old file keeps the old bytes.
///
/// The file has no name while it is written (O_TMPFILE), so that a killed process leaves nothing behind. publish()
/// links it under a free name, `.NAME.heft-0123456789abcdef`, and renames that to NAME. On file systems without unnamed
/// files (NFS, FAT), and where the system refuses to link them, it has that name from the start, and its writer holds a
/// lock on it (flock), so that remove_dead_scratch() recognizes the files of killed processes.
///
/// The destructor removes the file unless it was published. Holds a descriptor until then. Movable, so that all files
/// of a checkpoint can be written before the first is published. For one thread at a time.
///
/// Every failure is Error{io} with NAME's path and errno (a full disk: ENOSPC), except those named below. A call that
/// the system refuses to make (a sandbox, a file system) is no failure if the bytes are right without it; notes() then
/// reports what differs.
class ScratchFile {
 public:
  /// Creates the file, with the permission bits (0777) of the file that it will replace, or 0666 less the umask when
  /// there is none. If fchmod() is refused, bits that the umask clears are missing, with a note. Throws Error{refused}
  /// when NAME exists and is no regular file. If NAME is a symlink, the symlink will be replaced, not its target.
  static ScratchFile create(std::shared_ptr<const Folder> folder, std::string name);
  ScratchFile(ScratchFile&& other) noexcept;
  ScratchFile& operator=(ScratchFile&&) = delete;
  ~ScratchFile();

  /// Returns the path of NAME.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Allocates `size` bytes on the disk if the file system supports that, so that a full disk or a limit on file sizes
  /// is an Error before the work is done. In any case the file then has that size, and reads as zeros.
  void reserve(std::uint64_t size);
  /// Writes all of `from` at `offset`. Continues short writes and EINTR.
  void write(std::uint64_t offset, std::span<const std::byte> from);
  /// Waits until the file is on the device, by fsync(), or by fdatasync() if fsync() is refused. If both are refused,
  /// adds a note: no device has failed then, but a power failure can lose the file.
  void sync();
  /// Waits for writes that the file system delays until a file is closed, and throws their failure. Only publish() can
  /// follow.
  void finish();
  /// Renames the file to NAME, atomically. Requires finish().
  void publish();

  /// Returns a printable line for each call that the system refused and that changes the result.
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

 private:
  ScratchFile(std::shared_ptr<const Folder> folder, std::string name);
  void open(::mode_t mode);
  void permit(::mode_t mode);
  bool open_unnamed(::mode_t mode);
  bool open_named(::mode_t mode);
  void link();
  [[noreturn]] void fail(const std::string& message, std::int64_t result) const;

  std::shared_ptr<const Folder> folder_;
  std::string name_;
  std::string path_;
  std::string scratch_;  // the name before publish(); empty: none
  std::vector<std::string> notes_;
  int handle_ = -1;
};

/// Throws Error{io} with EFBIG when RLIMIT_FSIZE is below `size`. A write beyond the limit would raise SIGXFSZ.
void require_file_size(const std::string& path, std::uint64_t size);

/// Removes the scratch files in `folder` that killed processes left of NAMEs that start with `stem`: those on which no
/// process holds a lock. A file that cannot be locked or removed stays, and all stay when the folder cannot be listed.
void remove_dead_scratch(const Folder& folder, std::string_view stem);

/// Waits until the names in `folder` are on the device. Does nothing on a file system that cannot sync folders. Returns
/// a note if the system refuses to sync it, else nothing. Throws Error{io}.
[[nodiscard]] std::string sync_folder(const Folder& folder);
/// Removes the file of that name, if it exists. Throws Error{io}.
void remove_file(const Folder& folder, const std::string& name);

}  // namespace heft::mmap
