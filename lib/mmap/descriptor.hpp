// mmap/descriptor.hpp: a file descriptor that is closed when nobody took it over.
#pragma once

#include <utility>

#include "mmap/syscalls.hpp"

namespace heft::mmap {

/// Owns a descriptor, or holds the -errno that opening one gave.
class Descriptor {
 public:
  explicit Descriptor(int handle_or_error) noexcept : handle_(handle_or_error) {}
  ~Descriptor() {
    if (handle_ >= 0) sys::close(handle_);
  }
  Descriptor(Descriptor&& other) noexcept : handle_(std::exchange(other.handle_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;

  [[nodiscard]] int get() const noexcept { return handle_; }
  /// errno of the failed opening, 0 when it succeeded.
  [[nodiscard]] int os_error() const noexcept { return handle_ < 0 ? -handle_ : 0; }
  /// The caller closes from now on.
  int release() noexcept { return std::exchange(handle_, -1); }

 private:
  int handle_;
};

/// sys::openat, begun again when a signal interrupts it (network file systems, FUSE).
Descriptor open_at(int folder, const char* name, int flags) noexcept;

}  // namespace heft::mmap
