// mmap/write_syscalls.hpp: every system call that writes: what saving does to files and folders.
//
// As in syscalls.hpp each function is the call of its name, returns what the call returns or -errno, retries nothing,
// and is not inline, so that tests can link a twin that fails, or kills the process, on demand
// (tests/support/faulty_write_syscalls.cpp).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace heft::mmap::sys {

/// openat(O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC): never an existing file, never through a symlink. `mode` is subject
/// to the umask.
int create(int folder, const char* name, ::mode_t mode) noexcept;
/// openat(O_TMPFILE | O_WRONLY | O_CLOEXEC): a file in the folder's file system that has no name yet, and goes with its
/// last descriptor.
int create_unnamed(int folder, ::mode_t mode) noexcept;
/// Gives the file of create_unnamed() a name that nothing has. Through /proc/self/fd, which needs no privilege.
int link(int handle, int folder, const char* name) noexcept;
/// flock(LOCK_EX | LOCK_NB). -EWOULDBLOCK while another open file description holds the lock. The kernel releases it
/// with the last descriptor.
int try_lock(int handle) noexcept;
/// A second descriptor of the same open file, with O_CLOEXEC.
int duplicate(int handle) noexcept;
/// Soft RLIMIT_FSIZE in bytes; all ones when there is no limit. Beyond it, fallocate() and pwrite() raise SIGXFSZ.
std::uint64_t file_size_limit() noexcept;
int fchmod(int handle, ::mode_t mode) noexcept;
/// Gives the file `size` bytes on the disk, zeros.
int fallocate(int handle, std::uint64_t size) noexcept;
std::int64_t pwrite(int handle, std::uint64_t offset, std::span<const std::byte> from) noexcept;
int fsync(int handle) noexcept;
/// close, with its result: network file systems report here what a write could not.
int close_written(int handle) noexcept;
/// Replaces `to`, if it is there, in one step. Both in `folder`.
int rename(int folder, const char* from, const char* to) noexcept;
int unlink(int folder, const char* name) noexcept;
/// Bytes written, which may be fewer than asked.
std::int64_t getrandom(std::span<std::byte> into) noexcept;

}  // namespace heft::mmap::sys
