#include "mmap/write_syscalls.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "mmap/descriptor_path.hpp"

namespace heft::mmap::sys {
namespace {

// Returns -errno for a failed call; its argument is the call.
template <class Result>
Result or_errno(Result result) noexcept {
  return result < 0 ? static_cast<Result>(-errno) : result;
}

}  // namespace

int create(int folder, const char* name, ::mode_t mode) noexcept {
  return or_errno(::openat(folder, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode));
}

int create_unnamed(int folder, ::mode_t mode) noexcept {
  return or_errno(::openat(folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, mode));
}

int link(int handle, int folder, const char* name) noexcept {
  // AT_EMPTY_PATH would name the file by its descriptor, but requires CAP_DAC_READ_SEARCH.
  return or_errno(::linkat(AT_FDCWD, DescriptorPath(handle).c_str(), folder, name, AT_SYMLINK_FOLLOW));
}

int try_lock(int handle) noexcept { return or_errno(::flock(handle, LOCK_EX | LOCK_NB)); }
int duplicate(int handle) noexcept { return or_errno(::fcntl(handle, F_DUPFD_CLOEXEC, 0)); }

std::uint64_t file_size_limit() noexcept {
  struct ::rlimit limit {};
  return ::getrlimit(RLIMIT_FSIZE, &limit) < 0 ? RLIM_INFINITY : limit.rlim_cur;
}

int fchmod(int handle, ::mode_t mode) noexcept { return or_errno(::fchmod(handle, mode)); }

// Not posix_fallocate(): if the file system cannot allocate, the C library writes into every block.
int fallocate(int handle, std::uint64_t size) noexcept {
  return or_errno(::fallocate(handle, 0, 0, static_cast<off_t>(size)));
}

std::int64_t pwrite(int handle, std::uint64_t offset, std::span<const std::byte> from) noexcept {
  return or_errno<std::int64_t>(::pwrite(handle, from.data(), from.size(), static_cast<off_t>(offset)));
}

int fsync(int handle) noexcept { return or_errno(::fsync(handle)); }
int fdatasync(int handle) noexcept { return or_errno(::fdatasync(handle)); }
int close_written(int handle) noexcept { return or_errno(::close(handle)); }
int rename(int folder, const char* from, const char* to) noexcept {
  return or_errno(::renameat(folder, from, folder, to));
}
int unlink(int folder, const char* name) noexcept { return or_errno(::unlinkat(folder, name, 0)); }

std::int64_t getrandom(std::span<std::byte> into) noexcept {
  return or_errno<std::int64_t>(::getrandom(into.data(), into.size(), 0));
}

}  // namespace heft::mmap::sys
