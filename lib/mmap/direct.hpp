// mmap/direct.hpp: reads that bypass the page cache (O_DIRECT) into the caller's memory, many in flight.
//
// A missing ability of the machine is returned as a reason, not thrown: io_uring that a container forbids, a file
// system without O_DIRECT, an old kernel. An Error is thrown for a read that fails, and for a file that changed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "mmap/file.hpp"

namespace heft::mmap {

/// A second descriptor of an opened file, with O_DIRECT. It is opened through /proc/self/fd, because the path can lead
/// to another file by now, and its device and inode are compared with the first. The file's pool keeps it open for the
/// next user. Immutable; const methods can be called from several threads.
class DirectFile {
 public:
  /// The file, or null and the reason why it must be read through the page cache: one printable message.
  struct Opening {
    std::shared_ptr<const DirectFile> file;
    std::string reason;
  };
  /// Opens `file` for direct reads. Returns null for files of memory file systems too: Linux opens them with O_DIRECT,
  /// but still copies from memory.
  static Opening open(std::shared_ptr<const File> file);
  /// `access` has a descriptor of `file`: see open().
  DirectFile(DirectAccess access, std::shared_ptr<const File> file) noexcept
      : access_(std::move(access)), file_(std::move(file)) {}

  [[nodiscard]] int handle() const noexcept;
  [[nodiscard]] const File& file() const noexcept { return *file_; }
  /// Offsets and sizes of reads are multiples of this; a power of two, in bytes. As reported by statx (Linux 6.1), else
  /// a page.
  [[nodiscard]] std::uint32_t offset_alignment() const noexcept { return access_.offset_alignment; }
  /// Addresses are multiples of this; a power of two, in bytes, often smaller than offset_alignment().
  [[nodiscard]] std::uint32_t memory_alignment() const noexcept { return access_.memory_alignment; }

 private:
  DirectAccess access_;
  std::shared_ptr<const File> file_;
};

/// The options of a queue.
struct DirectSetup {
  std::vector<std::span<std::byte>> buffers;  ///< Memory of repeated reads: registered (pinned) where that is
                                              ///< allowed. Disjoint, each at most 1 GiB, must outlive the queue. Can be
                                              ///< empty: submit() takes any memory.
  unsigned depth = 64;                        ///< Max requests in flight; 1 to 4096.
  bool allow_ring = true;                     ///< False: use pread even if io_uring is available: for few small reads.
};

/// A finished request.
struct DirectCompletion {
  std::uint64_t token = 0;       ///< The argument of submit().
  std::uint64_t size_bytes = 0;  ///< Bytes of the file in the buffer: the whole range, or up to the end of the file.
};

/// Counters of a queue, for LoadStats. In bytes of the file.
struct DirectStats {
  std::uint64_t direct_bytes = 0;    ///< Read without the page cache.
  std::uint64_t buffered_bytes = 0;  ///< Read through it: the rest of requests that could not continue directly.
  std::uint64_t retries = 0;         ///< Requests sent again after a short read, EINTR or EAGAIN.
};

/// Direct reads in flight. With io_uring, many at once in one thread. Without it, each wait() makes one pread and
/// returns it, so that reads in parallel need several threads, each with a queue.
///
/// For one thread at a time: each worker owns a queue. The caller does not touch the memory of a read between submit()
/// and its completion.
class DirectQueue {
 public:
  /// Opens a queue, with pread where io_uring is not available: see reason(). Throws Error{out_of_range} for a setup
  /// that breaks the rules above.
  static std::unique_ptr<DirectQueue> open(DirectSetup setup);
  /// Waits for the reads in flight, because the kernel still writes to their memory.
  virtual ~DirectQueue() = default;
  DirectQueue(const DirectQueue&) = delete;
  DirectQueue& operator=(const DirectQueue&) = delete;

  /// Requests [offset, offset + into.size()) of `file`, which is kept open until the request is finished. Offset, size
  /// and address must have the alignments of the file; the size is at most 1 GiB. The range must start before the end
  /// of the file and can end after it. The completion returns `token`. The request is sent by flush() or wait() at the
  /// latest. Throws Error{misaligned, out_of_range}, the latter also when `depth` requests are in flight.
  virtual void submit(std::shared_ptr<const DirectFile> file, std::uint64_t offset, std::span<std::byte> into,
                      std::uint64_t token) = 0;
  /// Sends the submitted requests without waiting for them; for use before the caller does other work. Throws
  /// Error{io}.
  virtual void flush() = 0;
  /// Sends the remaining requests, waits until one is finished (in any order) and returns it. Short reads, EINTR and
  /// EAGAIN are continued. A range that the device refuses to read directly (EINVAL) is read through the page cache.
  ///
  /// Throws Error{io, changed_on_disk} with path and offset for a request that failed. The others stay in flight: the
  /// caller can wait for them or destroy the queue. Throws Error{out_of_range} when nothing is in flight.
  virtual DirectCompletion wait() = 0;

  /// Requests submitted and not yet returned by wait().
  [[nodiscard]] virtual unsigned in_flight() const noexcept = 0;
  /// Returns true with io_uring, false when wait() itself reads.
  [[nodiscard]] virtual bool is_asynchronous() const noexcept = 0;
  /// Returns which ability is missing and why: "io_uring_setup: Operation not permitted". Empty when none is that the
  /// setup asked for.
  [[nodiscard]] virtual const std::string& reason() const noexcept = 0;
  [[nodiscard]] virtual const DirectStats& stats() const noexcept = 0;

 protected:
  DirectQueue() = default;
};

}  // namespace heft::mmap
