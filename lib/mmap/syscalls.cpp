#include "mmap/syscalls.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <ctime>
#include <string_view>

#include "mmap/descriptor_path.hpp"

namespace heft::mmap::sys {
namespace {

// Returns -errno for a failed call. Its argument is the call, so that nothing overwrites errno in between.
template <class Result>
Result or_errno(Result result) noexcept {
  return result < 0 ? static_cast<Result>(-errno) : result;
}

// The C functions take pointers to mutable memory, though advice and mincore() write none.
void* address(const std::byte* begin) noexcept { return const_cast<std::byte*>(begin); }

}  // namespace

int openat(int folder, const char* name, int flags) noexcept { return or_errno(::openat(folder, name, flags)); }
void close(int handle) noexcept { ::close(handle); }
int fstat(int handle, struct ::stat& into) noexcept { return or_errno(::fstat(handle, &into)); }
int fstatat(int folder, const char* name, struct ::stat& into) noexcept {
  // Flags of 0: follows symlinks.
  return or_errno(::fstatat(folder, name, &into, 0));
}

std::int64_t readlinkat(int folder, const char* name, std::span<char> into) noexcept {
  return or_errno<std::int64_t>(::readlinkat(folder, name, into.data(), into.size()));
}

std::int64_t fstatfs_type(int handle) noexcept {
  struct ::statfs system {};
  if (::fstatfs(handle, &system) < 0) return -errno;
  return static_cast<std::int64_t>(system.f_type);
}

std::int64_t stamping_clock() noexcept {
  struct ::timespec now {};
  // The coarse clock has the value of the last tick, which is the one that file systems stamp with.
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

bool stamps_finely(int handle) noexcept {
  struct ::utsname kernel {};
  unsigned major = 0;
  unsigned minor = 0;
  if (::uname(&kernel) < 0) return false;
  const std::string_view release(kernel.release);
  const auto dot = std::from_chars(release.begin(), release.end(), major).ptr;
  if (dot == release.end() || *dot != '.') return false;
  std::from_chars(dot + 1, release.end(), minor);
  // Multigrain timestamps came with 6.13 and are opted into by each file system.
  if (major < 6 || (major == 6 && minor < 13)) return false;
  switch (fstatfs_type(handle)) {
    case EXT4_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case TMPFS_MAGIC: return true;
    default: return false;
  }
}

int faccess_write(int handle) noexcept {
  // AT_EACCESS: with the effective user, as the kernel's check for mincore().
  return or_errno(::faccessat(AT_FDCWD, DescriptorPath(handle).c_str(), W_OK, AT_EACCESS));
}

std::uint32_t geteuid() noexcept { return ::geteuid(); }

int statx_direct(int handle, DirectAlignment& into) noexcept {
  struct ::statx found {};
  // AT_EMPTY_PATH: of the descriptor itself.
  if (::statx(handle, "", AT_EMPTY_PATH, STATX_DIOALIGN, &found) < 0) return -errno;
  // An older kernel ignores the question and leaves the bit clear.
  if ((found.stx_mask & STATX_DIOALIGN) == 0) return -ENODATA;
  into = {found.stx_dio_mem_align, found.stx_dio_offset_align};
  return 0;
}

std::int64_t getdents64(int folder, std::span<std::byte> into) noexcept {
  return or_errno<std::int64_t>(::getdents64(folder, into.data(), into.size()));
}

std::int64_t pread(int handle, std::uint64_t offset, std::span<std::byte> into) noexcept {
  return or_errno<std::int64_t>(::pread(handle, into.data(), into.size(), static_cast<off_t>(offset)));
}

std::int64_t preadv2_nowait(int handle, std::uint64_t offset, std::span<std::byte> into) noexcept {
  const ::iovec range{into.data(), into.size()};
  return or_errno<std::int64_t>(::preadv2(handle, &range, 1, static_cast<off_t>(offset), RWF_NOWAIT));
}

int take_read_lease(int handle) noexcept {
  // When a lease breaks, the kernel sends SIGIO to its holder, which kills the process. SIGURG is ignored by default.
  // Without an owner not even SIGURG is sent, but F_SETLEASE sets the owner, so it can be cleared only afterwards.
  if (::fcntl(handle, F_SETSIG, SIGURG) < 0) return -errno;
  if (::fcntl(handle, F_SETLEASE, F_RDLCK) < 0) return -errno;
  return or_errno(::fcntl(handle, F_SETOWN, 0));
}

int lease_type(int handle) noexcept { return or_errno(::fcntl(handle, F_GETLEASE)); }
void release_lease(int handle) noexcept { ::fcntl(handle, F_SETLEASE, F_UNLCK); }

// Called by number, because the C library has no wrapper yet.
int cachestat(int handle, std::uint64_t offset, std::uint64_t size, std::uint64_t& pages) noexcept {
  // Structs and number are those of the kernel's ABI, which are the same on all architectures that heft is built for.
  constexpr long number = 451;
  struct {
    std::uint64_t offset, size;
  } range{offset, size};
  struct {
    std::uint64_t cached, dirty, writeback, evicted, recently_evicted;
  } found{};
  const long result = or_errno(::syscall(number, handle, &range, &found, 0));
  pages = found.cached;
  return static_cast<int>(result);
}

int mincore(const std::byte* begin, std::size_t size, unsigned char* flags) noexcept {
  return or_errno(::mincore(address(begin), size, flags));
}

int madvise(const std::byte* begin, std::size_t size, int advice) noexcept {
  return or_errno(::madvise(address(begin), size, advice));
}

// posix_fadvise() returns its error instead of setting errno.
int posix_fadvise(int handle, std::uint64_t offset, std::uint64_t size, int advice) noexcept {
  return -::posix_fadvise(handle, static_cast<off_t>(offset), static_cast<off_t>(size), advice);
}

int mlock(const std::byte* begin, std::size_t size) noexcept { return or_errno(::mlock(begin, size)); }
int munlock(const std::byte* begin, std::size_t size) noexcept { return or_errno(::munlock(begin, size)); }

std::uint64_t memlock_limit() noexcept {
  struct ::rlimit limit {};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) < 0) return 0;
  return limit.rlim_cur;
}

std::uint64_t descriptor_limit() noexcept {
  struct ::rlimit limit {};
  return ::getrlimit(RLIMIT_NOFILE, &limit) < 0 ? ~std::uint64_t{0} : limit.rlim_cur;
}

std::size_t page_size() noexcept { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

}  // namespace heft::mmap::sys
