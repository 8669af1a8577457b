// mmap/residency.hpp: which pages of a file are in the page cache, and how to ask for or give up some.
#pragma once

#include <cstdint>
#include <vector>

#include "mmap/file.hpp"

namespace heft::mmap {

/// How much of a range is in the page cache.
struct Residency {
  std::uint64_t pages = 0;     ///< Pages that the range touches.
  std::uint64_t resident = 0;  ///< Of those, in the page cache.
  [[nodiscard]] double fraction() const noexcept { return pages == 0 ? 1.0 : static_cast<double>(resident) / static_cast<double>(pages); }
};

/// Asks mincore about [offset, offset + size) of the file, through a mapping of its own. Pages are of sysconf(_SC_PAGESIZE) bytes.
/// Throws Error{out_of_range, io}.
Residency residency(const File& file, std::uint64_t offset, std::uint64_t size);

/// The same, one flag per page, in order.
std::vector<bool> resident_pages(const File& file, std::uint64_t offset, std::uint64_t size);

/// Starts reading the range into the page cache (POSIX_FADV_WILLNEED); does not wait.
void prefetch(const File& file, std::uint64_t offset, std::uint64_t size) noexcept;
/// Drops clean pages of the range from the page cache (POSIX_FADV_DONTNEED): pages mapped by any process stay.
void drop_cache(const File& file, std::uint64_t offset, std::uint64_t size) noexcept;

}  // namespace heft::mmap
