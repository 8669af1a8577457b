// A twin of lib/mmap/write_syscalls.cpp whose calls fail, or kill the process, on demand. Test binaries that list
// `faulty_write_syscalls_dep` link it instead of the real file.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace heft::test {

/// The calls of mmap/write_syscalls.hpp.
// clang-format off: names of one kind share a line.
enum class WriteCall : std::uint8_t {
  create_unnamed, create, link, lock, duplicate, fchmod, fallocate, pwrite, fsync, fdatasync, close, rename, unlink, getrandom, count_
};
// clang-format on

/// A change of one call.
struct WriteFault {
  std::optional<WriteCall> call = {};  ///< The kind of call that is counted; empty: every kind.
  std::uint64_t skip = 0;              ///< Calls that are not hit at first.
  std::uint64_t times = ~std::uint64_t{0};
  int os_error = 0;                           ///< The call is not made and returns this error.
  std::optional<std::uint64_t> at_most = {};  ///< Max bytes that pwrite writes.
  bool kills = false;                         ///< SIGKILL instead of the call (for pwrite: after half of the bytes).
  int signal = 0;                             ///< Sent to the process before the call, which is then made.
  bool no_unnamed = false;                    ///< In addition: the file system has no unnamed files (EOPNOTSUPP).
};

/// A fault that is active from construction to destruction. One at a time; calls can come from any thread.
class WriteFaultPlan {
 public:
  explicit WriteFaultPlan(WriteFault fault);
  ~WriteFaultPlan();
  WriteFaultPlan(const WriteFaultPlan&) = delete;
  WriteFaultPlan& operator=(const WriteFaultPlan&) = delete;

  /// Returns the calls of all kinds since construction, in their order.
  [[nodiscard]] std::vector<WriteCall> calls() const;
};

}  // namespace heft::test
