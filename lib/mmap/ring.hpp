// mmap/ring.hpp: a thin wrapper of io_uring. It prepares and sends reads and returns answers, without retries or
// counters.
//
// ring_uring.cpp implements it with liburing. ring_none.cpp replaces it in builds without liburing, and
// tests/support/faulty_ring.cpp in tests, where calls fail on demand. Functions return the kernel's result, or -errno.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace heft::mmap::sys {

class Ring {
 public:
  struct Read {
    int file = -1;    ///< A descriptor.
    int buffer = -1;  ///< Index of the registered buffer that contains `into`, or -1.
    std::uint64_t offset = 0;
    std::span<std::byte> into;
    std::uint64_t tag = 0;  ///< Returned in the Answer.
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

  /// Must be called once, before all else. Returns -ENOSYS without io_uring, -EPERM where it is forbidden.
  int open(unsigned entries);
  int register_buffers(std::span<const std::span<std::byte>> buffers);

  /// Queues a read for submit(). At most `entries` reads can be queued.
  void prepare(const Read& read) noexcept;
  /// Sends the queued reads and, with `wait`, waits for an answer. Returns the number sent, or -errno.
  int submit(bool wait) noexcept;
  /// Takes the next answer; returns false when there is none yet.
  bool take(Answer& answer) noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace heft::mmap::sys
