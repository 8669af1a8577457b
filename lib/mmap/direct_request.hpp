// mmap/direct_request.hpp: the state of one direct read. It interprets results of io_uring and of pread alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "mmap/direct.hpp"

namespace heft::mmap {

class DirectRequest {
 public:
  /// Throws as DirectQueue::submit(), except for the number in flight.
  DirectRequest(std::shared_ptr<const DirectFile> file, std::uint64_t offset, std::span<std::byte> into,
                std::uint64_t token);

  /// The descriptor, offset and memory of the next read.
  [[nodiscard]] int handle() const noexcept { return file_->handle(); }
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_ + done_; }
  [[nodiscard]] std::span<std::byte> rest() const noexcept { return into_.subspan(static_cast<std::size_t>(done_)); }

  enum class Step : std::uint8_t { again, finished };
  /// Takes the result, bytes or -errno, of a read of rest(). Reads the rest through the page cache when direct reads
  /// cannot continue. Throws Error{io, changed_on_disk}.
  Step settle(std::int64_t result, DirectStats& stats);

  [[nodiscard]] DirectCompletion completion() const noexcept { return {.token = token_, .size_bytes = done_}; }

 private:
  [[nodiscard]] bool can_go_on() const noexcept;
  Step advance(std::uint64_t bytes, DirectStats& stats);
  Step stall(DirectStats& stats);
  Step finish_buffered(DirectStats& stats);

  std::shared_ptr<const DirectFile> file_;
  std::uint64_t offset_;
  std::span<std::byte> into_;
  std::uint64_t token_;
  std::uint64_t wanted_;    // bytes of the file in the range
  std::uint64_t done_ = 0;  // of those, in the buffer
  unsigned stalls_ = 0;     // consecutive answers without a byte
};

/// The two kinds of queue. open_ring_queue() returns null and sets `reason` when io_uring is not available.
std::unique_ptr<DirectQueue> open_pread_queue(DirectSetup setup, std::string reason);
std::unique_ptr<DirectQueue> open_ring_queue(const DirectSetup& setup, std::string& reason);

}  // namespace heft::mmap
