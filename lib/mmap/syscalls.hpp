// mmap/syscalls.hpp: the system calls that this room makes on files and memory.
//
// Each function makes the call of its name, without retries. It returns the result, or -errno as the kernel does: there
// is no errno to save, and a failure cannot be taken for a count. mmap() itself is called by Boost.Interprocess
// (mapping.cpp), and the calls of io_uring are in ring.hpp.
//
// The functions are not inline, so that tests can link tests/support/faulty_syscalls.cpp, where calls fail on demand,
// instead of syscalls.cpp.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace heft::mmap::sys {

/// The max bytes that Linux transfers in one call of pread or pwrite.
inline constexpr std::size_t max_transfer_bytes = 0x7ffff000;

int openat(int folder, const char* name, int flags) noexcept;
void close(int handle) noexcept;
int fstat(int handle, struct ::stat& into) noexcept;
/// Follows symlinks.
int fstatat(int folder, const char* name, struct ::stat& into) noexcept;
/// Writes the target of a symlink, cut at the end of `into`. Returns the bytes written.
std::int64_t readlinkat(int folder, const char* name, std::span<char> into) noexcept;
/// Returns the type of the file system, as in <linux/magic.h>.
std::int64_t fstatfs_type(int handle) noexcept;
/// Returns nanoseconds since the epoch from CLOCK_REALTIME_COARSE, which advances in ticks and is used for timestamps
/// of files.
std::int64_t stamping_clock() noexcept;
/// Returns true when the kernel gives a change a timestamp finer than a tick if the file was examined since the last
/// change: Linux 6.13 with ext4, btrfs, xfs and tmpfs.
bool stamps_finely(int handle) noexcept;
/// Checks whether this process can write to the file of a descriptor that is open for reading only. Returns 0 or
/// -errno.
int faccess_write(int handle) noexcept;
/// Returns the effective user.
std::uint32_t geteuid() noexcept;

/// The alignments that direct reads require, in bytes; both 0 if the file system has no direct reads.
struct DirectAlignment {
  std::uint32_t memory = 0;
  std::uint32_t offset = 0;
};
/// statx(STATX_DIOALIGN), Linux 6.1. Returns -ENODATA if the kernel or the file system does not report alignments.
int statx_direct(int handle, DirectAlignment& into) noexcept;

/// Returns the bytes of `struct dirent64` records written; 0 at the end of the folder.
std::int64_t getdents64(int folder, std::span<std::byte> into) noexcept;
std::int64_t pread(int handle, std::uint64_t offset, std::span<std::byte> into) noexcept;
/// preadv2(RWF_NOWAIT): reads bytes that need no wait for the device; -EAGAIN when there are none.
std::int64_t preadv2_nowait(int handle, std::uint64_t offset, std::span<std::byte> into) noexcept;

/// fcntl(F_SETLEASE, F_RDLCK), set up so that a broken lease sends no signal with an effect. Returns 0 or -errno.
int take_read_lease(int handle) noexcept;
/// fcntl(F_GETLEASE): F_RDLCK while the lease holds, another type when a process waits for it. -errno on failure.
int lease_type(int handle) noexcept;
void release_lease(int handle) noexcept;

/// cachestat(2), Linux 6.5: sets `pages` to the pages of a non-empty range that are in the page cache. Needs no
/// mapping. Returns 0 or -errno.
int cachestat(int handle, std::uint64_t offset, std::uint64_t size, std::uint64_t& pages) noexcept;
/// `begin` must be page-aligned; `flags` has one byte per page.
int mincore(const std::byte* begin, std::size_t size, unsigned char* flags) noexcept;
int madvise(const std::byte* begin, std::size_t size, int advice) noexcept;
int posix_fadvise(int handle, std::uint64_t offset, std::uint64_t size, int advice) noexcept;
int mlock(const std::byte* begin, std::size_t size) noexcept;
int munlock(const std::byte* begin, std::size_t size) noexcept;
/// Returns the soft RLIMIT_MEMLOCK in bytes; all ones when there is no limit.
std::uint64_t memlock_limit() noexcept;
/// Returns the soft RLIMIT_NOFILE; all ones when there is no limit, or the call fails.
std::uint64_t descriptor_limit() noexcept;
/// Returns the bytes of a page.
std::size_t page_size() noexcept;

}  // namespace heft::mmap::sys
