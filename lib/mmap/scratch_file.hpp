// mmap/scratch_file.hpp: a file that takes its name only when it is whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "mmap/file.hpp"

namespace heft::mmap {

/// A file being written under a hidden name nobody can guess, `.NAME.heft-0123456789abcdef`, in the folder where it will be NAME. Whoever opens
/// NAME sees what was there before, or, after publish(), all of the new file; a mapping of the old one keeps the old bytes.
///
/// Removed by its destructor unless it was published. A process that is killed leaves it behind; the name says whose it was.
/// Movable, so that the files of a checkpoint can wait for each other. Not for several threads at once.
///
/// Every failure is Error{io} with NAME's path and errno (a full disk: ENOSPC), but for those named below.
class ScratchFile {
 public:
  /// Creates it. It gets the permissions of the file that it will replace, or 0666 less the umask when there is none. Throws Error{refused} when
  /// NAME is something else than a regular file. A symlink of that name will be replaced itself, not what it points at.
  static ScratchFile create(std::shared_ptr<const Folder> folder, std::string name);
  ScratchFile(ScratchFile&& other) noexcept;
  ScratchFile& operator=(ScratchFile&&) = delete;
  ~ScratchFile();

  /// Path under which the file will be known.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Takes `size` bytes of the disk now, where the file system can: a disk that is too full says so before the work is done. The file has that
  /// size afterwards in any case, and reads as zeros.
  void reserve(std::uint64_t size);
  /// All of `from` at `offset`. Short writes and EINTR are continued.
  void write(std::uint64_t offset, std::span<const std::byte> from);
  /// Waits until the file is on the device.
  void sync();
  /// Closes the file. Nothing can be written any more; publish() comes next.
  void close();
  /// Takes the name NAME, in one step. Precondition: close().
  void publish();

 private:
  ScratchFile(std::shared_ptr<const Folder> folder, std::string name);
  void open(::mode_t mode);
  [[noreturn]] void fail(const std::string& sentence, std::int64_t result) const;

  std::shared_ptr<const Folder> folder_;
  std::string name_;
  std::string path_;
  std::string scratch_;  // name while it is being written; empty: there is no such file
  int handle_ = -1;
};

/// Waits until the names in `folder` are on the device. Throws Error{io}; a file system that cannot sync folders is no error.
void sync_folder(const Folder& folder);
/// Removes a file of that name, if there is one. Throws Error{io}.
void remove_file(const Folder& folder, const std::string& name);

}  // namespace heft::mmap
