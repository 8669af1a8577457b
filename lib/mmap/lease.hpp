// mmap/lease.hpp: a promise of the kernel that a file will not shrink while its mapping is copied from.
//
// MADV_POPULATE_READ reports whether a page can be read now. A truncation between populating and touching removes the
// pages again, and the touch raises SIGBUS. No call makes the copy itself safe, and heft installs no signal handlers. A
// read lease (fcntl(2), F_SETLEASE) closes the gap: a process that opens the file for writing, or truncates it, is
// blocked until the lease is released, at most /proc/sys/fs/lease-break-time seconds (45). So a reader holds a lease,
// checks before each window whether a process is blocked, and releases the lease at once if so.
//
// The kernel grants a lease if the file belongs to this process's user (or the process has CAP_LEASE), no process has
// it open for writing, and the file system supports leases (ext4, xfs, btrfs, tmpfs; not NFS, FUSE). Otherwise read the
// file instead of touching its mapping.
#pragma once

#include <memory>

#include "mmap/file.hpp"

namespace heft::mmap {

/// A read lease on a file, held through a separate descriptor and released on destruction. Const methods can be called
/// from several threads.
class Lease {
 public:
  /// Takes a lease. Returns null if the kernel grants none, with errno in `os_error` (0: the file has changed). Throws
  /// as File::descriptor(). The process receives no signal when the lease is broken.
  static std::unique_ptr<const Lease> take(const File& file, int& os_error);
  static std::unique_ptr<const Lease> take(const File& file) {
    int ignored = 0;
    return take(file, ignored);
  }
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  /// Returns true when a process is blocked that wants to write to the file or truncate it: the caller must stop
  /// touching the mapping and destroy this Lease. After false, the file keeps its size for lease-break-time seconds.
  /// One system call, well under a microsecond.
  [[nodiscard]] bool is_broken() const noexcept;

 private:
  explicit Lease(int handle) noexcept : handle_(handle) {}
  int handle_;
};

}  // namespace heft::mmap
