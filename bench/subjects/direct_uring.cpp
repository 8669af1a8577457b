#include <liburing.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "subjects/direct.hpp"
#include "subjects/subject.hpp"

namespace bench {

namespace {

class Ring {
 public:
  explicit Ring(unsigned depth) {
    const int error = io_uring_queue_init(depth, &ring_, 0);
    if (error < 0) throw Absent(fmt::format("io_uring: {}", std::strerror(-error)));
  }
  ~Ring() { io_uring_queue_exit(&ring_); }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  void prepare(const DirectRead& read, std::uint64_t offset) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    io_uring_prep_read(entry, read.file, read.to + offset, static_cast<unsigned>(read.block_bytes), offset);
    io_uring_sqe_set_data64(entry, offset);
  }

  // Submits the prepared reads and takes one answer.
  void take(const DirectRead& read) {
    io_uring_submit_and_wait(&ring_, 1);
    io_uring_cqe* answer = nullptr;
    if (const int error = io_uring_wait_cqe(&ring_, &answer); error < 0) fail(error);
    const std::uint64_t offset = io_uring_cqe_get_data64(answer);
    const int result = answer->res;
    io_uring_cqe_seen(&ring_, answer);
    if (result < 0) fail(result);
    if (static_cast<std::uint64_t>(result) < std::min(read.block_bytes, read.size_bytes - offset))
      throw std::runtime_error("io_uring: short read");
  }

 private:
  [[noreturn]] static void fail(int error) {
    throw std::runtime_error(fmt::format("io_uring: {}", std::strerror(-error)));
  }
  io_uring ring_ = {};
};

}  // namespace

void direct_uring(const DirectRead& read) {
  Ring ring(read.depth);
  std::uint64_t submitted = 0;
  unsigned in_flight = 0;
  while (submitted < read.size_bytes || in_flight > 0) {
    for (; in_flight < read.depth && submitted < read.size_bytes; submitted += read.block_bytes, ++in_flight)
      ring.prepare(read, submitted);
    ring.take(read);
    --in_flight;
  }
}

}  // namespace bench
