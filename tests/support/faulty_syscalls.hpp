// A twin of lib/mmap/syscalls.cpp whose calls fail on demand. Test binaries that list `faulty_syscalls_dep` link it
// instead of the real file. Without a FaultPlan, every call goes to the system.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

namespace heft::test {

/// The calls of mmap/syscalls.hpp, and the reads of a ring (mmap/ring.hpp), that can be made to fail.
// clang-format off: names of one kind share a line.
enum class Call : std::uint8_t {
  openat, fstat, fstatat, fstatfs, stamps, faccess, statx, getdents64, pread, preadv2, mincore, cachestat, madvise, posix_fadvise, mlock, lease,
  lease_type, ring_open, ring_register_buffers, ring_submit, ring_read,
  any,  ///< In a Fault: any call.
  count_,
};
// clang-format on

/// A change of some calls of a kind. The first fault of the plan that applies to a call is used.
struct Fault {
  static constexpr std::uint64_t for_ever = std::numeric_limits<std::uint64_t>::max();

  Call call;
  std::uint64_t skip = 0;          ///< Calls of the kind that are not hit at first.
  std::uint64_t times = for_ever;  ///< Calls that are hit after them.
  /// The call is not made and returns this error; 0: it is made, changed as below.
  int os_error = 0;
  std::optional<std::uint64_t> at_most = {};  ///< Max bytes that reads return.
  std::optional<std::uint64_t> ends_at = {};  ///< Reads and fstat see a file of this size.
  /// Only calls of madvise or posix_fadvise with this advice are hit (and counted).
  std::optional<int> advice = {};
  /// Runs before a call that is hit, on its thread, as an action of another process. Must not make such calls itself.
  std::function<void()> before = {};
};

/// Faults that are active from construction to destruction. One plan at a time; calls can come from any thread.
class FaultPlan {
 public:
  explicit FaultPlan(std::vector<Fault> faults);
  ~FaultPlan();
  FaultPlan(const FaultPlan&) = delete;
  FaultPlan& operator=(const FaultPlan&) = delete;

  /// Return the calls of that kind (Call::any: of every kind) since construction, and how many of them were hit.
  [[nodiscard]] std::uint64_t calls(Call call) const;
  [[nodiscard]] std::uint64_t hits(Call call) const;
};

/// For twins: returns the fault that hits this call, if any. Counts the call.
[[nodiscard]] std::optional<Fault> next_fault(Call call, int advice = -1);

}  // namespace heft::test
