#include "mmap/direct_request.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "heft/error.hpp"

namespace heft::mmap {
namespace {

// The limit of one registered buffer of io_uring; devices take far less in one request.
constexpr std::uint64_t max_request_bytes = std::uint64_t{1} << 30;

// Consecutive answers without a byte after which a request is read through the page cache, so that no load can hang.
constexpr unsigned max_stalls = 64;

// Returns `file`. Throws Error{out_of_range} if it is null. A function, so that the check precedes the other members.
std::shared_ptr<const DirectFile> require_file(std::shared_ptr<const DirectFile> file) {
  if (!file) throw Error(ErrorCode::out_of_range, "expected a file that is open for direct reads, found none");
  return file;
}

// Returns the bytes of the file in the range: fewer than `size` at the end of the file, where a direct read still asks
// for whole blocks.
std::uint64_t wanted_bytes(const DirectFile& file, std::uint64_t offset, std::uint64_t size) {
  const std::uint64_t file_size = file.file().size_bytes();
  // A read that starts at the end would return 0 bytes, which settle() takes for a truncation.
  if (offset >= file_size || size == 0 || size > max_request_bytes)
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected a read of 1 to {} bytes that starts inside the file's {}, found {} bytes",
                            max_request_bytes, file_size, size),
                file.file().at(0, offset));
  return std::min(size, file_size - offset);
}

// Throws Error{misaligned} unless offset, size and address have the alignments of the file.
void require_aligned(const DirectFile& file, std::uint64_t offset, std::span<const std::byte> into) {
  // A power of two divides both numbers if and only if it divides their bitwise or.
  const std::uint64_t position = offset | into.size();
  const auto address = reinterpret_cast<std::uintptr_t>(into.data());
  if (position % file.offset_alignment() != 0 || address % file.memory_alignment() != 0)
    throw Error(ErrorCode::misaligned,
                fmt::format("direct reads need offsets and sizes in multiples of {}, addresses of {} bytes",
                            file.offset_alignment(), file.memory_alignment()),
                file.file().at(0, offset));
}

}  // namespace

DirectRequest::DirectRequest(std::shared_ptr<const DirectFile> file, std::uint64_t offset, std::span<std::byte> into,
                             std::uint64_t token)
    : file_(require_file(std::move(file))),
      offset_(offset),
      into_(into),
      token_(token),
      wanted_(wanted_bytes(*file_, offset, into.size())) {
  require_aligned(*file_, offset, into);
}

DirectRequest::Step DirectRequest::settle(std::int64_t result, DirectStats& stats) {
  if (result > 0) return advance(static_cast<std::uint64_t>(result), stats);
  switch (-result) {
    // The constructor proved that the range starts inside the file as opened, so the file is shorter now.
    case 0:
      throw Error(
          ErrorCode::changed_on_disk,
          fmt::format("expected {} bytes as when it was opened, the file ends here", file_->file().size_bytes()),
          file_->file().at(0, offset()));
    case EINTR:
    case EAGAIN: return stall(stats);
    case EINVAL:  // an alignment that the file system did not report
    case EOPNOTSUPP:
    case ENOMEM:  // for pinning the pages
    case EFAULT:  // memory that cannot be pinned: a buffered read can still write to it, or reports EFAULT too
      return finish_buffered(stats);
    default:
      throw Error(ErrorCode::io, fmt::format("direct read of {} bytes", wanted_ - done_),
                  file_->file().at(static_cast<int>(-result), offset()));
  }
}

// A read can stop at any byte, but the next direct read must start at an aligned offset.
bool DirectRequest::can_go_on() const noexcept { return offset() % file_->offset_alignment() == 0; }

DirectRequest::Step DirectRequest::advance(std::uint64_t bytes, DirectStats& stats) {
  // A file that has grown since open can return more bytes than the range had.
  bytes = std::min(bytes, wanted_ - done_);
  done_ += bytes;
  stats.direct_bytes += bytes;
  stalls_ = 0;
  if (done_ == wanted_) return Step::finished;
  // The read stopped inside a block, where no direct read can start.
  if (!can_go_on()) return finish_buffered(stats);
  ++stats.retries;
  return Step::again;
}

DirectRequest::Step DirectRequest::stall(DirectStats& stats) {
  if (++stalls_ > max_stalls) return finish_buffered(stats);
  ++stats.retries;
  return Step::again;
}

DirectRequest::Step DirectRequest::finish_buffered(DirectStats& stats) {
  // Throws Error{changed_on_disk} for a file that became shorter, as every buffered read.
  const std::uint64_t left = wanted_ - done_;
  file_->file().read(offset(), rest().first(static_cast<std::size_t>(left)));
  done_ = wanted_;
  stats.buffered_bytes += left;
  return Step::finished;
}

}  // namespace heft::mmap
