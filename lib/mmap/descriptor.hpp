// mmap/descriptor.hpp: the RAII owner of a file descriptor.
#pragma once

#include <utility>

#include "mmap/syscalls.hpp"

namespace heft::mmap {

/// Owns a descriptor and closes it on destruction, or holds the -errno of the call that should have opened it.
class Descriptor {
 public:
  explicit Descriptor(int handle_or_error) noexcept : handle_(handle_or_error) {}
  ~Descriptor() {
    if (handle_ >= 0) sys::close(handle_);
  }
  Descriptor(Descriptor&& other) noexcept : handle_(std::exchange(other.handle_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;

  [[nodiscard]] int get() const noexcept { return handle_; }
  /// Returns errno of the failed open, 0 when it succeeded.
  [[nodiscard]] int os_error() const noexcept { return handle_ < 0 ? -handle_ : 0; }
  /// Returns the descriptor and gives up ownership: the caller closes it.
  int release() noexcept { return std::exchange(handle_, -1); }

 private:
  int handle_;
};

/// Calls sys::openat, again when a signal interrupts it (network file systems, FUSE).
Descriptor open_at(int folder, const char* name, int flags) noexcept;

}  // namespace heft::mmap
