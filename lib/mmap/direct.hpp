// mmap/direct.hpp: reads that go past the page cache (O_DIRECT) straight into the caller's memory, many in flight.
//
// What the machine cannot do is a reason, not an Error: io_uring that a container forbids, a file system without O_DIRECT, a kernel that is
// too old. Errors are for reads that fail: the device, or a file that is not what it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "mmap/file.hpp"

namespace heft::mmap {

/// A second descriptor of an opened file, with O_DIRECT: opened through /proc/self/fd, so never by the path, and compared with the first.
/// Immutable; const methods may be called from several threads.
class DirectFile {
 public:
  /// The file, or (then `file` is null) why it is to be read through the page cache instead: one printable sentence.
  struct Opening {
    std::shared_ptr<const DirectFile> file;
    std::string reason;
  };
  /// Refused, among others, for files of memory file systems: Linux opens them with O_DIRECT and then copies all the same.
  static Opening open(std::shared_ptr<const File> file);
  ~DirectFile();
  DirectFile(const DirectFile&) = delete;
  DirectFile& operator=(const DirectFile&) = delete;

  [[nodiscard]] int handle() const noexcept { return handle_; }
  [[nodiscard]] const File& file() const noexcept { return *file_; }
  /// Offsets and sizes of reads are multiples of this; a power of two, in bytes. As the file system says (statx, Linux 6.1), else a page.
  [[nodiscard]] std::uint32_t offset_alignment() const noexcept { return offset_alignment_; }
  /// Addresses are multiples of this; a power of two, in bytes, often smaller than offset_alignment().
  [[nodiscard]] std::uint32_t memory_alignment() const noexcept { return memory_alignment_; }

 private:
  DirectFile(int handle, std::shared_ptr<const File> file, std::uint32_t offset_alignment, std::uint32_t memory_alignment) noexcept;
  int handle_;
  std::shared_ptr<const File> file_;
  std::uint32_t offset_alignment_;
  std::uint32_t memory_alignment_;
};

/// How a queue reads, and where to.
struct DirectSetup {
  std::vector<std::span<std::byte>> buffers;  ///< Memory read into again and again: registered (pinned) where that is allowed. Each at most
                                              ///< 1 GiB, disjoint. May be empty: submit() takes any memory. They outlive the queue.
  unsigned depth = 64;                        ///< Requests in flight at most; 1 to 4096.
  bool allow_ring = true;                     ///< False: pread, even where io_uring is to be had.
};

/// A finished request.
struct DirectCompletion {
  std::uint64_t token = 0;       ///< As given to submit().
  std::uint64_t size_bytes = 0;  ///< Bytes of the file that are now in the buffer: all asked for, or up to the end of the file.
};

/// What a queue did, for LoadStats. In bytes of the file.
struct DirectStats {
  std::uint64_t direct_bytes = 0;    ///< Past the page cache.
  std::uint64_t buffered_bytes = 0;  ///< Through it: what was left of requests that the system would not go on with directly.
  std::uint64_t retries = 0;         ///< Requests sent again after a short read, EINTR or EAGAIN.
};

/// Direct reads in flight: io_uring where it is to be had (many at once, whatever the number of threads), else one pread after another, each
/// made by the wait() that reports it: then depth comes from as many queues in as many threads.
///
/// One thread at a time. A worker owns one, and the memory it reads into is not touched between submit() and the completion.
class DirectQueue {
 public:
  /// Never fails for what the machine lacks: see reason(). Throws Error{out_of_range} for a setup that breaks the rules above.
  static std::unique_ptr<DirectQueue> open(DirectSetup setup);
  /// Waits for what is in flight: the kernel still writes to that memory.
  virtual ~DirectQueue() = default;
  DirectQueue(const DirectQueue&) = delete;
  DirectQueue& operator=(const DirectQueue&) = delete;

  /// Asks for [offset, offset + into.size()) of `file`, which is kept open until the request is finished. Offset, size and address are aligned
  /// as the file asks, at most 1 GiB; the last range may reach past the end of the file, but begins before it. `token` comes back with the
  /// completion. The request may wait for flush() or wait() before it is sent. Throws Error{misaligned, out_of_range}, the latter also when
  /// depth requests are in flight.
  virtual void submit(std::shared_ptr<const DirectFile> file, std::uint64_t offset, std::span<std::byte> into, std::uint64_t token) = 0;
  /// Sends what submit() left behind, without waiting: before a pause in which the caller works on other things. Throws Error{io}.
  virtual void flush() = 0;
  /// Sends what is left, waits until a request is finished (not in the order of submission) and returns it. Short reads, EINTR and EAGAIN are
  /// continued; what the device refuses to read directly (EINVAL) is read through the page cache.
  ///
  /// Throws Error{io, changed_on_disk} with path and offset for a request that failed; the others stay in flight and can be waited for, or
  /// the queue destroyed. Throws Error{out_of_range} when nothing is in flight.
  virtual DirectCompletion wait() = 0;

  /// Requests submitted and not yet returned by wait().
  [[nodiscard]] virtual unsigned in_flight() const noexcept = 0;
  /// True for io_uring; false when wait() does the reading itself.
  [[nodiscard]] virtual bool is_asynchronous() const noexcept = 0;
  /// What is missing and why: "io_uring_setup: Operation not permitted". Empty when the queue has all it wants.
  [[nodiscard]] virtual const std::string& reason() const noexcept = 0;
  [[nodiscard]] virtual const DirectStats& stats() const noexcept = 0;

 protected:
  DirectQueue() = default;
};

}  // namespace heft::mmap
