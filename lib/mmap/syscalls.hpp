// mmap/syscalls.hpp: every system call that this room makes on files and memory, and nothing else.
//
// Each function is the call of its name. It returns what the call returns, or -errno, as the kernel itself does: no errno to save, and a
// failure cannot be taken for a count. Nothing is retried here. The mapping itself is Boost.Interprocess' (mapping.cpp), and io_uring's calls
// are in ring.hpp.
//
// The functions are not inline so that tests can link a twin that fails on demand (tests/support/faulty_syscalls.cpp) in place of syscalls.cpp.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace heft::mmap::sys {

int openat(int folder, const char* name, int flags) noexcept;
void close(int handle) noexcept;
int fstat(int handle, struct ::stat& into) noexcept;
/// Follows symlinks.
int fstatat(int folder, const char* name, struct ::stat& into) noexcept;
/// Bytes of a symlink's target written, cut where `into` ends.
std::int64_t readlinkat(int folder, const char* name, std::span<char> into) noexcept;
/// Type of the file system, as in <linux/magic.h>.
std::int64_t fstatfs_type(int handle) noexcept;
/// Nanoseconds since the epoch by the clock that files are stamped by, which moves in ticks: CLOCK_REALTIME_COARSE.
std::int64_t stamping_clock() noexcept;
/// Whether the kernel stamps a change finer than by ticks where the file was looked at since the last one: Linux 6.13, ext4,
/// btrfs, xfs and tmpfs.
bool stamps_finely(int handle) noexcept;
/// Whether this process may write to the file behind the descriptor, which is open for reading only. 0, or -errno.
int faccess_write(int handle) noexcept;
/// Effective user.
std::uint32_t geteuid() noexcept;

/// What direct reads ask for, in bytes; both 0 where the file system does none.
struct DirectAlignment {
  std::uint32_t memory = 0;
  std::uint32_t offset = 0;
};
/// statx(STATX_DIOALIGN), Linux 6.1. -ENODATA where the kernel or the file system does not say.
int statx_direct(int handle, DirectAlignment& into) noexcept;

/// Bytes of `struct dirent64` records written; 0 at the end of the folder.
std::int64_t getdents64(int folder, std::span<std::byte> into) noexcept;
std::int64_t pread(int handle, std::uint64_t offset, std::span<std::byte> into) noexcept;
/// preadv2(RWF_NOWAIT): what can be had without waiting for the device; -EAGAIN when that is nothing.
std::int64_t preadv2_nowait(int handle, std::uint64_t offset, std::span<std::byte> into) noexcept;

/// fcntl(F_SETLEASE, F_RDLCK), set up so that breaking it sends no signal that does anything. 0, or -errno.
int take_read_lease(int handle) noexcept;
/// fcntl(F_GETLEASE): F_RDLCK while the lease holds, another type once somebody waits for it. -errno on failure.
int lease_type(int handle) noexcept;
void release_lease(int handle) noexcept;

/// cachestat(2), Linux 6.5: `pages` of the range, which is not empty, are in the page cache. Needs no mapping. 0, or -errno.
int cachestat(int handle, std::uint64_t offset, std::uint64_t size, std::uint64_t& pages) noexcept;
/// `begin` lies on a page; `flags` has one byte for each page.
int mincore(const std::byte* begin, std::size_t size, unsigned char* flags) noexcept;
int madvise(const std::byte* begin, std::size_t size, int advice) noexcept;
int posix_fadvise(int handle, std::uint64_t offset, std::uint64_t size, int advice) noexcept;
int mlock(const std::byte* begin, std::size_t size) noexcept;
int munlock(const std::byte* begin, std::size_t size) noexcept;
/// Soft RLIMIT_MEMLOCK in bytes; all ones when there is no limit.
std::uint64_t memlock_limit() noexcept;
/// Soft RLIMIT_NOFILE; all ones when there is no limit, or the call fails.
std::uint64_t descriptor_limit() noexcept;
/// Bytes of a page.
std::size_t page_size() noexcept;

}  // namespace heft::mmap::sys
