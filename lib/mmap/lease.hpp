// mmap/lease.hpp: a promise of the kernel that a file will not shrink while its mapping is copied from.
//
// MADV_POPULATE_READ tells whether a page can be read, not for how long: a truncation between populating and touching takes the pages away
// again, and the touch is SIGBUS. No call makes the copy itself safe, and heft installs no signal handlers. What closes the hole is a read
// lease (fcntl(2), F_SETLEASE): whoever opens the file for writing or truncates it waits until the lease is given back, at most
// /proc/sys/fs/lease-break-time seconds (45). So: hold a lease, look before each window whether somebody waits, give it back at once if so.
//
// A lease can be had where the file belongs to this process's user (or it has CAP_LEASE), nobody has it open for writing, and the file system
// knows leases (ext4, xfs, btrfs, tmpfs; not NFS, FUSE). Where it cannot, read the file instead of touching its mapping.
#pragma once

#include <memory>

#include "mmap/file.hpp"

namespace heft::mmap {

/// A read lease on a file, held through a descriptor of its own and given back when this dies. Const methods may be called from several
/// threads.
class Lease {
 public:
  /// Takes a lease, or returns null where the system gives none, with its errno in `os_error` (0: the file has changed). Never throws for that
  /// reason; throws as File::descriptor(). No signal reaches the process when it is broken.
  static std::unique_ptr<const Lease> take(const File& file, int& os_error);
  static std::unique_ptr<const Lease> take(const File& file) {
    int ignored = 0;
    return take(file, ignored);
  }
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  /// True once somebody waits to write to the file, or to truncate it: stop touching the mapping and let this Lease die. False promises
  /// lease-break-time seconds in which the file keeps its size. One system call, well under a microsecond.
  [[nodiscard]] bool is_broken() const noexcept;

 private:
  explicit Lease(int handle) noexcept : handle_(handle) {}
  int handle_;
};

}  // namespace heft::mmap
