// mmap/residency.hpp: which pages of a file are in the page cache; prefetching and dropping them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mmap/file.hpp"

namespace heft::mmap {

/// The share of a range that is in the page cache.
struct Residency {
  std::uint64_t pages = 0;     ///< Pages that the range touches.
  std::uint64_t resident = 0;  ///< Of those, in the page cache; 0 when not known.
  bool known = true;           ///< False: the kernel does not report it to this process, see residency().
  int os_error = 0;            ///< errno of the call that failed, if `known` is false for that reason.
  [[nodiscard]] double fraction() const noexcept {
    return pages == 0 ? 1.0 : static_cast<double>(resident) / static_cast<double>(pages);
  }
};

/// Returns the residency of [offset, offset + size), from mincore on a temporary mapping. Pages have
/// sysconf(_SC_PAGESIZE) bytes. The result is a snapshot: other processes read and drop pages meanwhile.
///
/// Since 5.2, Linux reports residency only to a process that owns the file or can write to it; to others it reports
/// every page as resident. For those `known` is false, and also where mincore is refused. That is common: weights
/// belong to root and the server runs as another user. Throws Error{out_of_range, io, out_of_memory}.
Residency residency(const File& file, std::uint64_t offset, std::uint64_t size);

/// As residency(), for a range of a mapping that the caller has.
Residency residency(std::span<const std::byte> mapped, const File& file);

/// The part of a range to examine: the first `bytes` of every `step` bytes.
struct Sampling {
  std::uint64_t step = 0;  ///< Not 0, except for an empty range.
  std::uint64_t bytes = 0;
};

/// As residency(), but counts only the pages that the samples of the range touch.
Residency sampled_residency(std::span<const std::byte> mapped, const File& file, Sampling sampling);

/// Returns one flag per page, in order, from mincore. Throws as residency(), and Error{unsupported} when not known.
std::vector<bool> resident_pages(const File& file, std::uint64_t offset, std::uint64_t size);
std::vector<bool> resident_pages(std::span<const std::byte> mapped, const File& file);

/// As residency() and resident_pages(), from cachestat (Linux 6.5), which needs no mapping. If the kernel does not have
/// or refuses the call, `known` is false, or Error{unsupported} is thrown. Throws Error{out_of_range}.
Residency cached_residency(const File& file, std::uint64_t offset, std::uint64_t size);
std::vector<bool> cached_pages(const File& file, std::uint64_t offset, std::uint64_t size);

/// Copies bytes from `offset` up to the first page that is not in the page cache, with preadv2(RWF_NOWAIT), which never
/// waits for the device. Returns the bytes copied; 0 also at the end of the file and if the file system does not
/// support the flag. Requires only permission to read. This is not a probe that leaves the cache unchanged: newer
/// kernels start to read the missing page. Throws Error{io}.
std::uint64_t read_resident(const File& file, std::uint64_t offset, std::span<std::byte> into);

/// Starts reading the range into the page cache (POSIX_FADV_WILLNEED). Does not wait for the data, but can wait for
/// room in the device's queue. This function and those below change no result of a read, so failures are not reported.
void prefetch(const File& file, std::uint64_t offset, std::uint64_t size) noexcept;
/// Sets whether buffered reads through this descriptor read ahead (POSIX_FADV_NORMAL, the state after open) or not
/// (POSIX_FADV_RANDOM).
void read_ahead(const File& file, bool wanted) noexcept;
/// Drops clean pages of the range from the page cache (POSIX_FADV_DONTNEED). Pages stay that are dirty, mapped by any
/// process, or only partly inside the range (except at the end of the file). A large folio can stay in part.
void drop_cache(const File& file, std::uint64_t offset, std::uint64_t size) noexcept;

}  // namespace heft::mmap
