// A twin of the C library's calls about pages, in which a page has 64 KiB, as on some ARM and POWER machines. The
// linker takes these functions, also for calls in headers of libraries. They run on a kernel with smaller pages and do
// what one with pages of 64 KiB does: mappings begin and end on such pages, calls reach whole ones, and a page is in
// memory when any part of it is.
//
// An address that must be at the start of a page, and is not, ends the process: the callers of most of these calls
// ignore their failures.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

constexpr std::uint64_t page = 64u << 10;
constexpr int populate_read = 22;      // MADV_POPULATE_READ, Linux 5.14
constexpr long cachestat = 451;        // Linux 6.5
constexpr std::size_t max_parts = 64;  // of a page: the smallest that Linux has are 4 KiB

using Function = void (*)();

// The next definition of a function: the C library's. No guarded static, whose wait could be a call of syscall().
template <class Of>
Of* system_function(const char* name, std::atomic<Function>& found) noexcept {
  if (found.load() == nullptr) found = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
  return reinterpret_cast<Of*>(found.load());
}

template <class... Arguments>
long call(long number, Arguments... arguments) noexcept {
  static constinit std::atomic<Function> found = nullptr;
  return system_function<long(long, ...)>("syscall", found)(number, arguments...);
}

std::uint64_t small_page() noexcept {
  static constinit std::atomic<Function> found = nullptr;
  return static_cast<std::uint64_t>(system_function<long(int)>("sysconf", found)(_SC_PAGESIZE));
}

constexpr std::uint64_t down(std::uint64_t at) noexcept { return at / page * page; }
constexpr std::uint64_t up(std::uint64_t at) noexcept { return down(at + page - 1); }

void require_page(const char* name, std::uint64_t at) noexcept {
  if (at % page == 0) return;
  std::fprintf(stderr, "%s: %#llx is no multiple of a page of 64 KiB\n", name, static_cast<unsigned long long>(at));
  std::abort();
}

std::uint64_t address(const void* begin) noexcept { return reinterpret_cast<std::uintptr_t>(begin); }

// Makes the call for the whole range. Where it fails, which it does for the parts of the last page that lie behind the
// end of a file, a page counts by its first part.
template <class Made>
int by_first_parts(std::uint64_t begin, std::uint64_t size, Made made) noexcept {
  if (made(begin, size) == 0) return 0;
  const std::uint64_t part = small_page();
  for (std::uint64_t at = begin; at < begin + size; at += part)
    if (made(at, part) != 0 && at % page == 0) return -1;
  return 0;
}

long cached_pages(int handle, const std::uint64_t (&range)[2], std::uint64_t (&found)[5], unsigned flags) noexcept {
  const std::uint64_t end = up(range[0] + range[1]);
  std::uint64_t pages = 0;
  for (std::uint64_t at = down(range[0]); at < end; at += page) {
    const std::uint64_t one[2] = {at, page};
    if (call(cachestat, handle, one, found, flags) != 0) return -1;
    pages += found[0] != 0 ? 1 : 0;
  }
  found[0] = pages;
  return 0;
}

}  // namespace

extern "C" {

long sysconf(int name) noexcept {
  static constinit std::atomic<Function> found = nullptr;
  return name == _SC_PAGESIZE ? static_cast<long>(page) : system_function<long(int)>("sysconf", found)(name);
}

int getpagesize() noexcept { return static_cast<int>(page); }

void* mmap(void* where, std::size_t size, int protection, int flags, int handle, off_t offset) noexcept {
  require_page("mmap", static_cast<std::uint64_t>(offset));
  if (size == 0 || (flags & MAP_FIXED) != 0) {
    require_page("mmap", address(where));
    return reinterpret_cast<void*>(call(SYS_mmap, where, size, protection, flags, handle, offset));
  }
  // Room for the range at a multiple of a page, of which the rest is given back.
  const std::uint64_t mapped = up(size);
  const long room =
      call(SYS_mmap, nullptr, mapped + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0l);
  if (room == -1) return MAP_FAILED;
  const auto first = static_cast<std::uint64_t>(room);
  const std::uint64_t begin = up(first);
  const long result = call(SYS_mmap, begin, mapped, protection, flags | MAP_FIXED, handle, offset);
  const int error = errno;
  if (result == -1) call(SYS_munmap, begin, mapped);
  if (begin != first) call(SYS_munmap, first, begin - first);
  if (first + page != begin) call(SYS_munmap, begin + mapped, first + page - begin);
  errno = error;
  return reinterpret_cast<void*>(result);
}

int munmap(void* begin, std::size_t size) noexcept {
  require_page("munmap", address(begin));
  return static_cast<int>(call(SYS_munmap, begin, up(size)));
}

int madvise(void* begin, std::size_t size, int advice) noexcept {
  require_page("madvise", address(begin));
  const auto made = [&](std::uint64_t at, std::uint64_t bytes) {
    return static_cast<int>(call(SYS_madvise, at, bytes, advice));
  };
  return advice == populate_read ? by_first_parts(address(begin), up(size), made) : made(address(begin), up(size));
}

int mlock(const void* begin, std::size_t size) noexcept {
  require_page("mlock", address(begin));
  return by_first_parts(address(begin), up(size), [](std::uint64_t at, std::uint64_t bytes) {
    return static_cast<int>(call(SYS_mlock, at, bytes));
  });
}

int munlock(const void* begin, std::size_t size) noexcept {
  require_page("munlock", address(begin));
  return static_cast<int>(call(SYS_munlock, begin, up(size)));
}

int mincore(void* begin, std::size_t size, unsigned char* flags) noexcept {
  require_page("mincore", address(begin));
  const std::uint64_t parts = page / small_page();
  std::array<unsigned char, max_parts> of_parts;
  for (std::uint64_t at = address(begin); at < address(begin) + size; at += page) {
    if (call(SYS_mincore, at, page, of_parts.data()) != 0) return -1;
    *flags++ = std::any_of(of_parts.begin(), of_parts.begin() + parts, [](unsigned char part) { return part & 1; });
  }
  return 0;
}

int posix_fadvise(int handle, off_t offset, off_t size, int advice) noexcept {
  static constinit std::atomic<Function> found = nullptr;
  const auto made = system_function<int(int, off_t, off_t, int)>("posix_fadvise", found);
  struct ::stat status {};
  if (offset < 0 || size <= 0 || ::fstat(handle, &status) != 0) return made(handle, offset, size, advice);
  const auto begin = static_cast<std::uint64_t>(offset);
  const std::uint64_t end = begin + static_cast<std::uint64_t>(size);
  // Pages of which a part is in the range are read, but not dropped, except for the last one of the file.
  const bool drops = advice == POSIX_FADV_DONTNEED;
  const bool is_last = end >= static_cast<std::uint64_t>(status.st_size);
  const std::uint64_t first = drops ? up(begin) : down(begin);
  const std::uint64_t last = drops && !is_last ? down(end) : up(end);
  return first < last ? made(handle, static_cast<off_t>(first), static_cast<off_t>(last - first), advice) : 0;
}

// By which the call is made that the C library does not know yet.
long syscall(long number, ...) noexcept {
  std::va_list list;
  va_start(list, number);
  std::array<long, 6> arguments;
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  const auto [a, b, c, d, e, f] = arguments;
  if (number != cachestat) return call(number, a, b, c, d, e, f);
  return cached_pages(static_cast<int>(a), *reinterpret_cast<const std::uint64_t(*)[2]>(b),
                      *reinterpret_cast<std::uint64_t(*)[5]>(c), static_cast<unsigned>(d));
}

}  // extern "C"
