// mmap/ring.hpp: io_uring, as thin as a system call: reads are prepared, sent and answered; nothing is retried or counted here.
//
// ring_uring.cpp is it, by liburing; ring_none.cpp takes its place where the build has none, and a twin that fails on demand in tests
// (tests/support/faulty_ring.cpp). Functions return what the kernel returns, or -errno.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace heft::mmap::sys {

class Ring {
 public:
  struct Read {
    int file = -1;                ///< A descriptor.
    int buffer = -1;              ///< Index of the registered buffer that holds `into`; -1: none does.
    std::uint64_t offset = 0;
    std::span<std::byte> into;
    std::uint64_t tag = 0;        ///< Comes back in the Answer.
  };
  struct Answer {
    std::uint64_t tag = 0;
    std::int64_t result = 0;  ///< Bytes, or -errno.
  };

  Ring() noexcept;
  /// Does not wait for reads in flight.
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  /// Once, before all else. -ENOSYS where there is no io_uring, -EPERM where it is forbidden.
  int open(unsigned entries);
  int register_buffers(std::span<const std::span<std::byte>> buffers);

  /// At most `entries` reads are prepared and not yet sent.
  void prepare(const Read& read) noexcept;
  /// Sends what is prepared, and waits for an answer if asked. The number sent, or -errno.
  int submit(bool wait) noexcept;
  /// The next answer, if one is there.
  bool take(Answer& answer) noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace heft::mmap::sys
