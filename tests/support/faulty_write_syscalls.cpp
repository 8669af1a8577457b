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
#include <mutex>
#include <stdexcept>

#include "mmap/write_syscalls.hpp"

namespace heft::test {
namespace {

struct State {
  std::mutex mutex;
  bool active = false;
  WriteFault fault;
  std::uint64_t seen = 0;  // calls that the fault applies to
  std::vector<WriteCall> calls;
};

State& state() {
  static State only;
  return only;
}

// The fault, if it hits this call. Counts the call.
std::optional<WriteFault> next_fault(WriteCall call) {
  State& plan = state();
  const std::lock_guard lock(plan.mutex);
  if (!plan.active) return std::nullopt;
  plan.calls.push_back(call);
  if (plan.fault.call.value_or(call) != call) return std::nullopt;
  const std::uint64_t number = plan.seen++;
  if (number < plan.fault.skip || number - plan.fault.skip >= plan.fault.times) return std::nullopt;
  return plan.fault;
}

bool lacks_unnamed() {
  const std::lock_guard lock(state().mutex);
  return state().active && state().fault.no_unnamed;
}

template <class System>
auto faulty(WriteCall call, System system) -> decltype(system()) {
  using Result = decltype(system());
  if (const auto fault = next_fault(call)) {
    if (fault->kills) ::raise(SIGKILL);
    if (fault->signal != 0) ::kill(::getpid(), fault->signal);
    if (fault->os_error != 0) return static_cast<Result>(-fault->os_error);
  }
  const Result result = system();
  return result < 0 ? static_cast<Result>(-errno) : result;
}

}  // namespace

WriteFaultPlan::WriteFaultPlan(WriteFault fault) {
  const std::lock_guard lock(state().mutex);
  if (state().active) throw std::logic_error("a fault plan is in force already");
  state().active = true;
  state().fault = fault;
  state().seen = 0;
  state().calls.clear();
}

WriteFaultPlan::~WriteFaultPlan() {
  const std::lock_guard lock(state().mutex);
  state().active = false;
}

std::vector<WriteCall> WriteFaultPlan::calls() const {
  const std::lock_guard lock(state().mutex);
  return state().calls;
}

}  // namespace heft::test

namespace heft::mmap::sys {

using heft::test::WriteCall;

int create(int folder, const char* name, ::mode_t mode) noexcept {
  return test::faulty(WriteCall::create, [&] { return ::openat(folder, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode); });
}
int create_unnamed(int folder, ::mode_t mode) noexcept {
  if (test::lacks_unnamed()) return -EOPNOTSUPP;
  return test::faulty(WriteCall::create_unnamed, [&] { return ::openat(folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, mode); });
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
  const std::size_t most = fault && fault->kills ? from.size() / 2 : fault && fault->at_most ? *fault->at_most : from.size();
  const std::int64_t result = ::pwrite(handle, from.data(), std::min(from.size(), most), static_cast<off_t>(offset));
  if (fault && fault->kills) ::raise(SIGKILL);
  return result < 0 ? -errno : result;
}

int fsync(int handle) noexcept {
  return test::faulty(WriteCall::fsync, [&] { return ::fsync(handle); });
}

int close_written(int handle) noexcept {
  // Closed in any case, as Linux does.
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
