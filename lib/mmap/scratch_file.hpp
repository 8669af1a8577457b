// mmap/scratch_file.hpp: a file that takes its name only when it is whole.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "mmap/file.hpp"

namespace heft::mmap {

/// A file being written in the folder where it will be NAME. A reader of NAME sees what was there before or, after
/// publish(), all of the new file; a mapping of the old one keeps the old bytes.
///
/// It has no name while it is written (O_TMPFILE), so that a killed process leaves nothing behind. publish() links it
/// under a name that nothing has, `.NAME.heft-0123456789abcdef`, and renames it at once. Where the file system has no
/// unnamed files (NFS, FAT), it has that name from the start, and its writer holds a lock on it (flock), so that
/// remove_dead_scratch() can tell the files of killed processes.
///
/// Removed by its destructor unless it was published. Holds a descriptor until then. Movable, so that the files of a
/// checkpoint can wait for each other. Not for several threads at once.
///
/// Every failure is Error{io} with NAME's path and errno (a full disk: ENOSPC), but for those named below.
class ScratchFile {
 public:
  /// Creates it. It gets the permission bits (0777) of the file that it will replace, or 0666 less the umask when there
  /// is none. Throws Error{refused} when NAME is something else than a regular file. A symlink of that name will be
  /// replaced itself, not what it points at.
  static ScratchFile create(std::shared_ptr<const Folder> folder, std::string name);
  ScratchFile(ScratchFile&& other) noexcept;
  ScratchFile& operator=(ScratchFile&&) = delete;
  ~ScratchFile();

  /// Path under which the file will be known.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Takes `size` bytes of the disk now, where the file system can: a disk that is too full, or a limit on files'
  /// sizes, is an Error before the work is done. The file has that size afterwards in any case, and reads as zeros.
  void reserve(std::uint64_t size);
  /// All of `from` at `offset`. Short writes and EINTR are continued.
  void write(std::uint64_t offset, std::span<const std::byte> from);
  /// Waits until the file is on the device.
  void sync();
  /// Waits for what the file system has delayed until a file is closed, and throws its failure. No write() after this;
  /// publish() comes next.
  void finish();
  /// Takes the name NAME, in one step. Precondition: finish().
  void publish();

 private:
  ScratchFile(std::shared_ptr<const Folder> folder, std::string name);
  void open(::mode_t mode);
  bool open_unnamed(::mode_t mode);
  bool open_named(::mode_t mode);
  void link();
  [[noreturn]] void fail(const std::string& sentence, std::int64_t result) const;

  std::shared_ptr<const Folder> folder_;
  std::string name_;
  std::string path_;
  std::string scratch_;  // its name before publish(); empty: it has none
  int handle_ = -1;
};

/// Throws Error{io} with EFBIG when RLIMIT_FSIZE is below `size`: writing beyond it raises SIGXFSZ.
void require_file_size(const std::string& path, std::uint64_t size);

/// Removes the scratch files in `folder` that killed processes left of NAMEs that begin with `stem`: those that no
/// process holds a lock on. One that cannot be removed, or cannot be locked, stays. Throws Error{io} when the folder
/// cannot be listed.
void remove_dead_scratch(const Folder& folder, std::string_view stem);

/// Waits until the names in `folder` are on the device. Throws Error{io}; a file system that cannot sync folders is no
/// error.
void sync_folder(const Folder& folder);
/// Removes a file of that name, if there is one. Throws Error{io}.
void remove_file(const Folder& folder, const std::string& name);

}  // namespace heft::mmap
