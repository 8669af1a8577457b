#include "mmap/lease.hpp"

#include <fcntl.h>

#include "mmap/descriptor.hpp"
#include "mmap/descriptor_path.hpp"
#include "mmap/syscalls.hpp"

namespace heft::mmap {

std::unique_ptr<const Lease> Lease::take(const File& file, int& os_error) {
  // A lease belongs to an open file description, so each Lease opens the file again: two loads of one File then hold
  // independent leases.
  const auto open = file.descriptor();
  const DescriptorPath link(open->get());
  // O_NONBLOCK: open() would wait while another process holds a write lease on the file.
  Descriptor opened(sys::openat(AT_FDCWD, link.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  os_error = opened.os_error();
  if (os_error != 0) return nullptr;
  std::unique_ptr<const Lease> lease(new Lease(opened.get()));
  const int handle = opened.release();
  os_error = -sys::take_read_lease(handle);
  if (os_error != 0) return nullptr;
  // The lease covers the time from here on. A change before it must be found before the mapping is touched.
  return file.unchanged() ? std::move(lease) : nullptr;
}

Lease::~Lease() {
  // A child process that was forked meanwhile shares the description, so closing alone would not release the lease.
  sys::release_lease(handle_);
  sys::close(handle_);
}

bool Lease::is_broken() const noexcept { return sys::lease_type(handle_) != F_RDLCK; }

}  // namespace heft::mmap
