// mmap/write_syscalls.hpp: the system calls that write, create, rename and remove files, for saving.
//
// As in syscalls.hpp, each function makes the call of its name without retries and returns its result or -errno. They
// are not inline, so that tests can link tests/support/faulty_write_syscalls.cpp, which fails calls or kills the
// process on demand.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace heft::mmap::sys {

/// openat(O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC): never opens an existing file or follows a symlink. `mode` is
/// subject to the umask.
int create(int folder, const char* name, ::mode_t mode) noexcept;
/// openat(O_TMPFILE | O_WRONLY | O_CLOEXEC): creates a file without a name in the folder's file system, which is
/// removed with its last descriptor.
int create_unnamed(int folder, ::mode_t mode) noexcept;
/// Links the file of create_unnamed() under a name that must be free. Through /proc/self/fd, which needs no privilege.
int link(int handle, int folder, const char* name) noexcept;
/// flock(LOCK_EX | LOCK_NB). -EWOULDBLOCK while another open file description holds the lock. The kernel releases it
/// with the last descriptor.
int try_lock(int handle) noexcept;
/// Returns a second descriptor of the same open file, with O_CLOEXEC.
int duplicate(int handle) noexcept;
/// Returns the soft RLIMIT_FSIZE in bytes; all ones when there is no limit. Beyond it, fallocate() and pwrite() raise
/// SIGXFSZ.
std::uint64_t file_size_limit() noexcept;
int fchmod(int handle, ::mode_t mode) noexcept;
/// Allocates `size` bytes of zeros for the file on the disk.
int fallocate(int handle, std::uint64_t size) noexcept;
std::int64_t pwrite(int handle, std::uint64_t offset, std::span<const std::byte> from) noexcept;
int fsync(int handle) noexcept;
int fdatasync(int handle) noexcept;
/// close() with its result: network file systems report failures of delayed writes here.
int close_written(int handle) noexcept;
/// Renames `from` to `to`, both in `folder`, and replaces an existing `to` atomically.
int rename(int folder, const char* from, const char* to) noexcept;
int unlink(int folder, const char* name) noexcept;
/// Fills `into` with random bytes. Returns the bytes written, which can be fewer.
std::int64_t getrandom(std::span<std::byte> into) noexcept;

}  // namespace heft::mmap::sys
