// A twin of lib/mmap/write_syscalls.cpp whose calls fail, or kill the process, when a test says so. A test binary that lists
// `faulty_write_syscalls_dep` links it in place of the real file.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace heft::test {

/// The calls of mmap/write_syscalls.hpp.
enum class WriteCall : std::uint8_t {
  create_unnamed, create, link, lock, duplicate, fchmod, fallocate, pwrite, fsync, fdatasync, close, rename, unlink, getrandom, count_
};

/// What happens to one call.
struct WriteFault {
  std::optional<WriteCall> call = {};   ///< Only calls of this kind are counted; without it all are.
  std::uint64_t skip = 0;               ///< Calls that pass unharmed first.
  std::uint64_t times = ~std::uint64_t{0};
  int os_error = 0;                     ///< The call is not made and fails with this errno.
  std::optional<std::uint64_t> at_most = {};  ///< pwrite writes no more bytes than this.
  bool kills = false;                   ///< SIGKILL instead of the call (for pwrite: after half of the bytes).
  int signal = 0;                       ///< Sent to the process before the call, which is then made.
  bool no_unnamed = false;              ///< Besides: the file system has no unnamed files (EOPNOTSUPP).
};

/// A fault in force from construction to destruction. One at a time; calls may come from any thread.
class WriteFaultPlan {
 public:
  explicit WriteFaultPlan(WriteFault fault);
  ~WriteFaultPlan();
  WriteFaultPlan(const WriteFaultPlan&) = delete;
  WriteFaultPlan& operator=(const WriteFaultPlan&) = delete;

  /// Calls of all kinds since the plan began, in their order.
  [[nodiscard]] std::vector<WriteCall> calls() const;
};

}  // namespace heft::test
