// mmap/residency.hpp: which pages of a file are in the page cache, and how to ask for or give up some.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mmap/file.hpp"

namespace heft::mmap {

/// How much of a range is in the page cache.
struct Residency {
  std::uint64_t pages = 0;     ///< Pages that the range touches.
  std::uint64_t resident = 0;  ///< Of those, in the page cache; 0 when that is not known.
  bool known = true;           ///< False: the kernel keeps it from this process, see residency().
  int os_error = 0;            ///< Of the call that the kernel refused, when it is not known for that reason.
  [[nodiscard]] double fraction() const noexcept {
    return pages == 0 ? 1.0 : static_cast<double>(resident) / static_cast<double>(pages);
  }
};

/// Asks mincore about [offset, offset + size) of the file, through a mapping of its own. Pages are of sysconf(_SC_PAGESIZE) bytes. A snapshot:
/// other processes read and drop pages meanwhile.
///
/// Linux tells only who owns the file or may write to it; to others it reports every page as resident (since 5.2). For those `known` is false:
/// common where weights belong to root and the server does not, and where mincore is refused. Throws Error{out_of_range, io, out_of_memory}.
Residency residency(const File& file, std::uint64_t offset, std::uint64_t size);

/// The same for a range of a mapping of the file that the caller has, without making one.
Residency residency(std::span<const std::byte> mapped, const File& file);

/// Which part of a range to ask about: the first `bytes` of every `step` bytes.
struct Sampling {
  std::uint64_t step = 0;  ///< Not 0, but for an empty range.
  std::uint64_t bytes = 0;
};

/// As residency(), but only of the pages that the samples of the range touch.
Residency sampled_residency(std::span<const std::byte> mapped, const File& file, Sampling sampling);

/// The same, one flag per page, in order. Throws also Error{unsupported} where it is not known.
std::vector<bool> resident_pages(const File& file, std::uint64_t offset, std::uint64_t size);
std::vector<bool> resident_pages(std::span<const std::byte> mapped, const File& file);

/// The same by cachestat (Linux 6.5), which needs no mapping: `known` is false, or Error{unsupported}, where the kernel has no such call, or
/// refuses it. Throws Error{out_of_range}.
Residency cached_residency(const File& file, std::uint64_t offset, std::uint64_t size);
std::vector<bool> cached_pages(const File& file, std::uint64_t offset, std::uint64_t size);

/// Copies from `offset` what is in the page cache, up to the first page that is not, and never waits for the device: preadv2(RWF_NOWAIT).
/// Returns the bytes copied; 0 also at the end of the file and where the file system cannot do it. Needs no permission beyond reading. Newer
/// kernels start to read the missing page ahead, so this is a read that may stop early, not a probe that leaves the cache as it was.
/// Throws Error{io}.
std::uint64_t read_resident(const File& file, std::uint64_t offset, std::span<std::byte> into);

/// Starts reading the range into the page cache (POSIX_FADV_WILLNEED); does not wait for the data, though it may for room in the device's
/// queue. None of these changes what reads see, so failures are not reported.
void prefetch(const File& file, std::uint64_t offset, std::uint64_t size) noexcept;
/// Whether buffered reads of the file, by whoever shares this descriptor, bring in more than they are asked for
/// (POSIX_FADV_NORMAL, the state after opening) or not (POSIX_FADV_RANDOM).
void read_ahead(const File& file, bool wanted) noexcept;
/// Drops clean pages of the range from the page cache (POSIX_FADV_DONTNEED): pages that are dirty or mapped by any process stay, and so do
/// those that the range covers in part (but for the end of the file). Part of a large folio may stay too.
void drop_cache(const File& file, std::uint64_t offset, std::uint64_t size) noexcept;

}  // namespace heft::mmap
