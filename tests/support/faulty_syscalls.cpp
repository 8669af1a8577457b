#include "support/faulty_syscalls.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <utility>

#include "mmap/syscalls.hpp"
#include "support/faulty_calls.hpp"

namespace heft::test {
namespace {

using Calls = FaultyCalls<Call, Fault>;

Calls& calls_made() {
  static Calls only;
  return only;
}

bool is_of(Call kind, Call wanted) noexcept { return wanted == Call::any || kind == wanted; }

}  // namespace

FaultPlan::FaultPlan(std::vector<Fault> faults) { calls_made().begin(std::move(faults)); }
FaultPlan::~FaultPlan() { calls_made().end(); }

std::uint64_t FaultPlan::calls(Call call) const {
  return static_cast<std::uint64_t>(
      std::ranges::count_if(calls_made().made(), [&](const Calls::Made& made) { return is_of(made.call, call); }));
}

std::uint64_t FaultPlan::hits(Call call) const {
  return static_cast<std::uint64_t>(std::ranges::count_if(
      calls_made().made(), [&](const Calls::Made& made) { return made.is_hit && is_of(made.call, call); }));
}

std::optional<Fault> next_fault(Call call, int advice) {
  auto found = calls_made().next(
      call, [&](const Fault& fault) { return is_of(call, fault.call) && (!fault.advice || *fault.advice == advice); });
  if (found && found->before) found->before();
  return found;
}

}  // namespace heft::test

// The twin: each function as in lib/mmap/syscalls.cpp, except for faults.
namespace heft::mmap::sys {
namespace {

using test::Call;
using test::Fault;
using test::next_fault;
using test::or_errno;

// Makes the call, unless a fault hits it.
template <class Made>
auto faulty(Call call, Made made, int advice = -1) {
  const auto fault = next_fault(call, advice);
  using Result = decltype(made());
  return fault && fault->os_error != 0 ? static_cast<Result>(-fault->os_error) : or_errno(made());
}

template <class Made>
std::int64_t faulty_read(Call call, std::uint64_t offset, std::span<std::byte> into, Made made) {
  const auto fault = next_fault(call);
  if (fault && fault->os_error != 0) return -fault->os_error;
  std::uint64_t size = into.size();
  if (fault && fault->at_most) size = std::min(size, *fault->at_most);
  if (fault && fault->ends_at) size = offset >= *fault->ends_at ? 0 : std::min(size, *fault->ends_at - offset);
  return size == 0 ? 0 : or_errno<std::int64_t>(made(into.first(static_cast<std::size_t>(size))));
}

void* address(const std::byte* begin) noexcept { return const_cast<std::byte*>(begin); }

}  // namespace

int openat(int folder, const char* name, int flags) noexcept {
  return faulty(Call::openat, [&] { return ::openat(folder, name, flags); });
}

void close(int handle) noexcept { ::close(handle); }

int fstat(int handle, struct ::stat& into) noexcept {
  const auto fault = next_fault(Call::fstat);
  if (fault && fault->os_error != 0) return -fault->os_error;
  const int result = or_errno(::fstat(handle, &into));
  if (result == 0 && fault && fault->ends_at) into.st_size = static_cast<off_t>(*fault->ends_at);
  return result;
}

int fstatat(int folder, const char* name, struct ::stat& into) noexcept {
  return faulty(Call::fstatat, [&] { return ::fstatat(folder, name, &into, 0); });
}

std::int64_t readlinkat(int folder, const char* name, std::span<char> into) noexcept {
  const auto size = ::readlinkat(folder, name, into.data(), into.size());
  return size < 0 ? -errno : size;
}

std::int64_t fstatfs_type(int handle) noexcept {
  struct ::statfs system {};
  const int result = faulty(Call::fstatfs, [&] { return ::fstatfs(handle, &system); });
  return result < 0 ? result : static_cast<std::int64_t>(system.f_type);
}

std::int64_t stamping_clock() noexcept {
  struct ::timespec now {};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// With a fault, the kernel is one whose timestamps advance in ticks.
bool stamps_finely(int handle) noexcept {
  const auto fault = next_fault(Call::stamps);
  struct ::utsname kernel {};
  unsigned major = 0;
  unsigned minor = 0;
  if ((fault && fault->os_error != 0) || ::uname(&kernel) < 0) return false;
  if (std::sscanf(kernel.release, "%u.%u", &major, &minor) != 2) return false;
  const std::int64_t type = fstatfs_type(handle);
  const bool stamps =
      type == EXT4_SUPER_MAGIC || type == BTRFS_SUPER_MAGIC || type == XFS_SUPER_MAGIC || type == TMPFS_MAGIC;
  return stamps && (major > 6 || (major == 6 && minor >= 13));
}

int faccess_write(int handle) noexcept {
  char link[32];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
  return faulty(Call::faccess, [&] { return ::faccessat(AT_FDCWD, link, W_OK, AT_EACCESS); });
}

// A plan that refuses write access stands for a user who does not own the file either.
std::uint32_t geteuid() noexcept {
  const auto fault = next_fault(Call::faccess);
  return fault ? ~0u : ::geteuid();
}

int statx_direct(int handle, DirectAlignment& into) noexcept {
  struct ::statx found {};
  const int result = faulty(Call::statx, [&] { return ::statx(handle, "", AT_EMPTY_PATH, STATX_DIOALIGN, &found); });
  if (result < 0) return result;
  if ((found.stx_mask & STATX_DIOALIGN) == 0) return -ENODATA;
  into = {found.stx_dio_mem_align, found.stx_dio_offset_align};
  return 0;
}

std::int64_t getdents64(int folder, std::span<std::byte> into) noexcept {
  return faulty(Call::getdents64, [&]() -> std::int64_t { return ::getdents64(folder, into.data(), into.size()); });
}

std::int64_t pread(int handle, std::uint64_t offset, std::span<std::byte> into) noexcept {
  return faulty_read(Call::pread, offset, into, [&](std::span<std::byte> part) {
    return ::pread(handle, part.data(), part.size(), static_cast<off_t>(offset));
  });
}

std::int64_t preadv2_nowait(int handle, std::uint64_t offset, std::span<std::byte> into) noexcept {
  return faulty_read(Call::preadv2, offset, into, [&](std::span<std::byte> part) {
    const ::iovec range{part.data(), part.size()};
    return ::preadv2(handle, &range, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  });
}

int take_read_lease(int handle) noexcept {
  return faulty(Call::lease, [&] {
    if (::fcntl(handle, F_SETSIG, SIGURG) < 0 || ::fcntl(handle, F_SETLEASE, F_RDLCK) < 0) return -1;
    return ::fcntl(handle, F_SETOWN, 0);
  });
}

int lease_type(int handle) noexcept {
  return faulty(Call::lease_type, [&] { return ::fcntl(handle, F_GETLEASE); });
}
void release_lease(int handle) noexcept { ::fcntl(handle, F_SETLEASE, F_UNLCK); }

int cachestat(int handle, std::uint64_t offset, std::uint64_t size, std::uint64_t& pages) noexcept {
  constexpr long number = 451;
  struct {
    std::uint64_t offset, size;
  } range{offset, size};
  struct {
    std::uint64_t cached, dirty, writeback, evicted, recently_evicted;
  } found{};
  const long result = faulty(Call::cachestat, [&] { return ::syscall(number, handle, &range, &found, 0); });
  pages = found.cached;
  return static_cast<int>(result);
}

int mincore(const std::byte* begin, std::size_t size, unsigned char* flags) noexcept {
  return faulty(Call::mincore, [&] { return ::mincore(address(begin), size, flags); });
}

int madvise(const std::byte* begin, std::size_t size, int advice) noexcept {
  return faulty(Call::madvise, [&] { return ::madvise(address(begin), size, advice); }, advice);
}

int posix_fadvise(int handle, std::uint64_t offset, std::uint64_t size, int advice) noexcept {
  const auto fault = next_fault(Call::posix_fadvise, advice);
  if (fault && fault->os_error != 0) return -fault->os_error;
  return -::posix_fadvise(handle, static_cast<off_t>(offset), static_cast<off_t>(size), advice);
}

int mlock(const std::byte* begin, std::size_t size) noexcept {
  return faulty(Call::mlock, [&] { return ::mlock(begin, size); });
}

int munlock(const std::byte* begin, std::size_t size) noexcept { return or_errno(::munlock(begin, size)); }

std::uint64_t memlock_limit() noexcept {
  struct ::rlimit limit {};
  return ::getrlimit(RLIMIT_MEMLOCK, &limit) < 0 ? 0 : limit.rlim_cur;
}

std::uint64_t descriptor_limit() noexcept {
  struct ::rlimit limit {};
  return ::getrlimit(RLIMIT_NOFILE, &limit) < 0 ? ~std::uint64_t{0} : limit.rlim_cur;
}

std::size_t page_size() noexcept { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

}  // namespace heft::mmap::sys
