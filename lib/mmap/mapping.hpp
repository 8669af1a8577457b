// mmap/mapping.hpp: read-only mappings of files. map() only maps: advice, populating, dropping and locking are separate
// calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "heft/bytes.hpp"
#include "mmap/file.hpp"

namespace heft::mmap {

/// Maps [offset, offset + size) of `file` read-only (MAP_SHARED, PROT_READ). Returns bytes whose owner keeps the File
/// and unmaps on destruction. Offsets need no alignment. A size of 0 returns empty Bytes without mapping. Throws
/// Error{out_of_range} past the size at open, Error{out_of_memory, io} if mmap() fails.
Bytes map(std::shared_ptr<const File> file, std::uint64_t offset, std::uint64_t size);
/// Maps the whole file.
Bytes map(std::shared_ptr<const File> file);

/// Advice to the kernel about mapped pages; ignored by kernels that do not know it. Ranges need no alignment: they are
/// widened to whole pages, here and below, except in drop(), which narrows them. `huge_pages` is for anonymous memory
/// before it is touched.
enum class Advice : std::uint8_t { normal, sequential, random, will_need, huge_pages };
void advise(std::span<const std::byte> mapped, Advice advice) noexcept;

/// Makes the range readable without further faults, with MADV_POPULATE_READ (Linux 5.14), and reports failures that
/// would raise SIGBUS on a touch. Throws Error{changed_on_disk} if the file has shrunk, Error{io} if the device fails,
/// Error{out_of_memory}. Returns false, having done nothing, if the kernel does not support or refuses the call: then
/// read() instead of touching.
///
/// Any truncation since open is reported, even one inside the last page, whose lost bytes would read as zeros. A
/// truncation between this call and the touch still raises SIGBUS: populate small windows just before they are used, or
/// read() where that risk is too high.
bool populate(std::span<const std::byte> mapped, const File& file);

/// Unmaps the whole pages inside the range from this process (MADV_DONTNEED); they stay in the page cache.
void drop(std::span<const std::byte> mapped) noexcept;

/// Reads the pages into memory and locks them until unlock() or until the mapping is destroyed. Locks do not nest: one
/// unlock() undoes any number. Throws Error{out_of_memory} with a hint about RLIMIT_MEMLOCK, Error{changed_on_disk} if
/// the file has shrunk.
void lock(std::span<const std::byte> mapped, const File& file);
void unlock(std::span<const std::byte> mapped) noexcept;

}  // namespace heft::mmap
