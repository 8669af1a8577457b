#include "support/faulty_write_syscalls.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>

#include "mmap/write_syscalls.hpp"
#include "support/faulty_calls.hpp"

namespace heft::test {
namespace {

using Calls = FaultyCalls<WriteCall, WriteFault>;

Calls& calls_made() {
  static Calls only;
  return only;
}

std::optional<WriteFault> next_fault(WriteCall call) {
  return calls_made().next(call, [&](const WriteFault& fault) { return fault.call.value_or(call) == call; });
}

bool lacks_unnamed() {
  return calls_made().has([](const WriteFault& fault) { return fault.no_unnamed; });
}

template <class System>
auto faulty(WriteCall call, System system) -> decltype(system()) {
  using Result = decltype(system());
  if (const auto fault = next_fault(call)) {
    if (fault->kills) ::raise(SIGKILL);
    if (fault->signal != 0) ::kill(::getpid(), fault->signal);
    if (fault->os_error != 0) return static_cast<Result>(-fault->os_error);
  }
  return or_errno(system());
}

}  // namespace

WriteFaultPlan::WriteFaultPlan(WriteFault fault) { calls_made().begin({fault}); }
WriteFaultPlan::~WriteFaultPlan() { calls_made().end(); }

std::vector<WriteCall> WriteFaultPlan::calls() const {
  std::vector<WriteCall> calls;
  for (const Calls::Made& made : calls_made().made()) calls.push_back(made.call);
  return calls;
}

}  // namespace heft::test

namespace heft::mmap::sys {

using heft::test::WriteCall;

int create(int folder, const char* name, ::mode_t mode) noexcept {
  return test::faulty(WriteCall::create,
                      [&] { return ::openat(folder, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode); });
}
int create_unnamed(int folder, ::mode_t mode) noexcept {
  if (test::lacks_unnamed()) return -EOPNOTSUPP;
  return test::faulty(WriteCall::create_unnamed,
                      [&] { return ::openat(folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, mode); });
}
int link(int handle, int folder, const char* name) noexcept {
  char unnamed[32];
  std::snprintf(unnamed, sizeof unnamed, "/proc/self/fd/%d", handle);
  return test::faulty(WriteCall::link, [&] { return ::linkat(AT_FDCWD, unnamed, folder, name, AT_SYMLINK_FOLLOW); });
}
int try_lock(int handle) noexcept {
  return test::faulty(WriteCall::lock, [&] { return ::flock(handle, LOCK_EX | LOCK_NB); });
}
int duplicate(int handle) noexcept {
  return test::faulty(WriteCall::duplicate, [&] { return ::fcntl(handle, F_DUPFD_CLOEXEC, 0); });
}
std::uint64_t file_size_limit() noexcept {
  struct ::rlimit limit {};
  return ::getrlimit(RLIMIT_FSIZE, &limit) < 0 ? RLIM_INFINITY : limit.rlim_cur;
}

int fchmod(int handle, ::mode_t mode) noexcept {
  return test::faulty(WriteCall::fchmod, [&] { return ::fchmod(handle, mode); });
}
int fallocate(int handle, std::uint64_t size) noexcept {
  return test::faulty(WriteCall::fallocate, [&] { return ::fallocate(handle, 0, 0, static_cast<off_t>(size)); });
}

std::int64_t pwrite(int handle, std::uint64_t offset, std::span<const std::byte> from) noexcept {
  const auto fault = test::next_fault(WriteCall::pwrite);
  if (fault && fault->os_error != 0) return -fault->os_error;
  if (fault && fault->signal != 0) ::kill(::getpid(), fault->signal);
  const std::size_t most = fault && fault->kills     ? from.size() / 2
                           : fault && fault->at_most ? *fault->at_most
                                                     : from.size();
  const std::int64_t result = ::pwrite(handle, from.data(), std::min(from.size(), most), static_cast<off_t>(offset));
  if (fault && fault->kills) ::raise(SIGKILL);
  return result < 0 ? -errno : result;
}

int fsync(int handle) noexcept {
  return test::faulty(WriteCall::fsync, [&] { return ::fsync(handle); });
}

int fdatasync(int handle) noexcept {
  return test::faulty(WriteCall::fdatasync, [&] { return ::fdatasync(handle); });
}

int close_written(int handle) noexcept {
  // Closes the descriptor in any case, as Linux does.
  const auto fault = test::next_fault(WriteCall::close);
  if (fault && fault->kills) ::raise(SIGKILL);
  const int result = ::close(handle);
  if (fault && fault->os_error != 0) return -fault->os_error;
  return result < 0 ? -errno : result;
}

int rename(int folder, const char* from, const char* to) noexcept {
  return test::faulty(WriteCall::rename, [&] { return ::renameat(folder, from, folder, to); });
}
int unlink(int folder, const char* name) noexcept {
  return test::faulty(WriteCall::unlink, [&] { return ::unlinkat(folder, name, 0); });
}
std::int64_t getrandom(std::span<std::byte> into) noexcept {
  return test::faulty(WriteCall::getrandom, [&]() -> std::int64_t { return ::getrandom(into.data(), into.size(), 0); });
}

}  // namespace heft::mmap::sys
