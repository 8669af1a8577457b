#include <liburing.h>

#include <cerrno>
#include <vector>

#include "mmap/ring.hpp"

namespace heft::mmap::sys {

struct Ring::State {
  ::io_uring ring{};
  bool is_open = false;
  // liburing must not release a ring that it did not set up.
  ~State() {
    if (is_open) ::io_uring_queue_exit(&ring);
  }
};

Ring::Ring() noexcept = default;
Ring::~Ring() = default;

int Ring::open(unsigned entries) {
  state_ = std::make_unique<State>();
  // Without this flag (Linux 5.19), each completion interrupts the thread that submitted the request.
  int result = ::io_uring_queue_init(entries, &state_->ring, IORING_SETUP_COOP_TASKRUN);
  // An older kernel refuses flags that it does not know.
  if (result == -EINVAL) result = ::io_uring_queue_init(entries, &state_->ring, 0);
  state_->is_open = result == 0;
  return result;
}

int Ring::register_buffers(std::span<const std::span<std::byte>> buffers) {
  std::vector<::iovec> ranges;
  // The kernel copies the table during the call, so it need not outlive it. The order gives the indices of
  // Read::buffer.
  ranges.reserve(buffers.size());
  for (const auto& buffer : buffers) ranges.push_back({buffer.data(), buffer.size()});
  return ::io_uring_register_buffers(&state_->ring, ranges.data(), static_cast<unsigned>(ranges.size()));
}

void Ring::prepare(const Read& read) noexcept {
  // Never null: the caller queues at most as many reads as the ring has entries.
  ::io_uring_sqe* entry = ::io_uring_get_sqe(&state_->ring);
  const auto size = static_cast<unsigned>(read.into.size());
  if (read.buffer >= 0) {
    ::io_uring_prep_read_fixed(entry, read.file, read.into.data(), size, read.offset, read.buffer);
  } else {
    ::io_uring_prep_read(entry, read.file, read.into.data(), size, read.offset);
  }
  entry->user_data = read.tag;
}

int Ring::submit(bool wait) noexcept {
  return wait ? ::io_uring_submit_and_wait(&state_->ring, 1) : ::io_uring_submit(&state_->ring);
}

bool Ring::take(Answer& answer) noexcept {
  ::io_uring_cqe* entry = nullptr;
  if (::io_uring_peek_cqe(&state_->ring, &entry) != 0) return false;
  answer = {entry->user_data, entry->res};
  // Frees the entry for the kernel, so it comes after the copy.
  ::io_uring_cqe_seen(&state_->ring, entry);
  return true;
}

}  // namespace heft::mmap::sys
