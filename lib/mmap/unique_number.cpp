#include "mmap/unique_number.hpp"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <ctime>
#include <span>

#include "mmap/write_syscalls.hpp"

namespace heft::mmap {
namespace {

// The last step of SplitMix64, a bijection in which each bit of the argument affects all bits of the result.
std::uint64_t spread(std::uint64_t bits) noexcept {
  bits = (bits ^ bits >> 30) * 0xBF58'476D'1CE4'E5B9;
  bits = (bits ^ bits >> 27) * 0x94D0'49BB'1331'11EB;
  return bits ^ bits >> 31;
}

// Returns a number that differs between calls of a process, and in practice between processes.
std::uint64_t from_the_clock() noexcept {
  // The counter distinguishes threads in one tick of the clock, the process id processes. spread() moves both from the
  // low bits, so that sums of them do not collide.
  static std::atomic<std::uint64_t> count = 0;
  struct ::timespec now {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const auto time = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
  return spread(spread(time) + static_cast<std::uint64_t>(::getpid())) + count.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

std::uint64_t unique_number() noexcept {
  std::uint64_t random = 0;
  std::int64_t got = -EINTR;
  while (got == -EINTR) got = sys::getrandom(std::as_writable_bytes(std::span(&random, 1)));
  // getrandom() fills up to 256 bytes whole once the pool is initialized, so fewer means a failure.
  return got == sizeof random ? random : from_the_clock();
}

}  // namespace heft::mmap
