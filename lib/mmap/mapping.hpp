// mmap/mapping.hpp: read-only mappings of files, and what can be asked of their pages. Mapping maps: everything else is a call of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "heft/bytes.hpp"
#include "mmap/file.hpp"

namespace heft::mmap {

/// Maps [offset, offset + size) of `file` read-only (MAP_SHARED, PROT_READ) and gives bytes whose owner unmaps them and keeps the file open.
/// Offsets need no alignment. A size of 0 gives empty Bytes without mapping. Throws Error{out_of_range} past the size at open,
/// Error{out_of_memory, io} when the system refuses.
Bytes map(std::shared_ptr<const File> file, std::uint64_t offset, std::uint64_t size);
/// The whole file.
Bytes map(std::shared_ptr<const File> file);

/// Advice to the kernel about mapped pages; ignored where it is not known. Ranges need no alignment and are widened to whole pages, except
/// for `drop`, which is narrowed. `huge_pages` is for memory of one's own, before it is touched.
enum class Advice : std::uint8_t { normal, sequential, random, will_need, huge_pages };
void advise(std::span<const std::byte> mapped, Advice advice) noexcept;

/// Makes the range readable without further faults: MADV_POPULATE_READ (Linux 5.14); reports what a touch would raise as SIGBUS.
/// Throws Error{changed_on_disk} when the file shrank under it, Error{io} when the device fails, Error{out_of_memory}. Where the kernel does not
/// know the call, or refuses it, returns false and has done nothing: read() instead of touching.
///
/// Any truncation since open is reported, even inside the last page, whose lost bytes would read as zeros. One that comes between this call
/// and the touch still raises SIGBUS: populate small windows just before they are used, and read() where that is too much risk.
bool populate(std::span<const std::byte> mapped, const File& file);

/// Gives up the pages of this process for the whole pages inside the range (MADV_DONTNEED); the page cache keeps them.
void drop(std::span<const std::byte> mapped) noexcept;

/// Reads the pages in and locks them there, until unlock() or until the mapping goes. Locks do not nest: one unlock() undoes any number.
/// Throws Error{out_of_memory} with a hint about RLIMIT_MEMLOCK, Error{changed_on_disk} when the file shrank.
void lock(std::span<const std::byte> mapped, const File& file);
void unlock(std::span<const std::byte> mapped) noexcept;

}  // namespace heft::mmap
