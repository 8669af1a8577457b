#include "mmap/residency.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <iterator>
#include <memory>

#include "core/checked.hpp"
#include "heft/error.hpp"
#include "mmap/mapping.hpp"
#include "mmap/pages.hpp"
#include "mmap/syscalls.hpp"

namespace heft::mmap {
namespace {

// Pages per mincore() call: 64 MiB of file, with a buffer that fits the stack.
constexpr std::size_t max_pages_per_call = 16 << 10;
using Flags = std::array<unsigned char, max_pages_per_call>;

// Returns true when mincore() reports residency to this process: the kernel's can_do_mincore(), as far as a process can
// check it.
bool is_told(const File& file) {
  const auto open = file.descriptor();
  struct ::stat status {};
  // A root process passes the check of write access below, except on a read-only file system.
  if (sys::fstat(open->get(), status) == 0 && status.st_uid == sys::geteuid()) return true;
  return sys::faccess_write(open->get()) == 0;
}

// Ignores failures, because advice changes no result.
void advise_file(const File& file, std::uint64_t offset, std::uint64_t size, int advice) noexcept {
  try {
    sys::posix_fadvise(file.descriptor()->get(), offset, size, advice);
  } catch (const std::exception&) {
    return;
  }
}

// Returns a pointer without ownership, for a call during which the caller keeps the file.
std::shared_ptr<const File> borrowed(const File& file) noexcept { return {std::shared_ptr<const File>(), &file}; }

// Throws Error{out_of_range} for a range past the size at open: pages behind it would be counted as missing.
void require_inside_file(const File& file, std::uint64_t offset, std::uint64_t size) {
  if (!core::inside(offset, size, file.size_bytes()))
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected a range inside the file's {} bytes, found {} bytes", file.size_bytes(), size),
                file.at(0, offset));
}

// Calls `visit` with the flags of consecutive runs of the pages around `mapped`. Returns 0, or -errno of mincore().
template <class Visit>
int for_each_run(std::span<const std::byte> mapped, Visit visit) {
  const std::size_t page = sys::page_size();
  auto left = pages_around(mapped, page);
  Flags flags;
  while (!left.empty()) {
    // In runs, because mincore() writes one byte for each page: 256 MiB of flags for a file of 1 TiB.
    const auto run = left.first(std::min(left.size(), max_pages_per_call * page));
    const int result = sys::mincore(run.data(), run.size(), flags.data());
    if (result < 0) return result;
    visit(std::span<const unsigned char>(flags).first(run.size() / page));
    left = left.subspan(run.size());
  }
  return 0;
}

// Throws Error{unsupported}; `os_error` is 0 if mincore() was not called, because its answer would be wrong.
[[noreturn]] void fail_unknown(const File& file, std::uint64_t offset, int os_error) {
  throw Error(ErrorCode::unsupported,
              "the kernel does not report to this process which pages of the file are in memory",
              file.at(os_error, offset));
}

// Sets the flags of pages [first, first + flags.size()). cachestat() returns only a count, so a range that is partly
// resident is halved until each part is resident or missing as a whole.
int set_cached(int handle, std::uint64_t first, std::span<std::uint8_t> flags) {
  const std::uint64_t page = sys::page_size();
  std::uint64_t found = 0;
  if (const int result = sys::cachestat(handle, first * page, flags.size() * page, found); result < 0) return result;
  if (found == 0) return 0;
  // More than the range has cannot be: >= only guards the recursion. A range of one page is either empty or full, so it
  // ends there.
  if (found >= flags.size()) return std::ranges::fill(flags, std::uint8_t{1}), 0;
  const std::size_t half = flags.size() / 2;
  // Calls grow with the number of changes between resident and missing, times the depth: for most files the first call
  // is the only one.
  const int result = set_cached(handle, first, flags.first(half));
  return result < 0 ? result : set_cached(handle, first + half, flags.subspan(half));
}

constexpr bool is_resident(unsigned char flag) noexcept { return (flag & 1) != 0; }

}  // namespace

Residency residency(std::span<const std::byte> mapped, const File& file) {
  // One sample of the whole range.
  return sampled_residency(mapped, file, {.step = mapped.size(), .bytes = mapped.size()});
}

Residency residency(const File& file, std::uint64_t offset, std::uint64_t size) {
  require_inside_file(file, offset, size);
  const Bytes mapped = map(borrowed(file), offset, size);
  return residency(mapped.span(), file);
}

Residency cached_residency(const File& file, std::uint64_t offset, std::uint64_t size) {
  require_inside_file(file, offset, size);
  const std::uint64_t page = sys::page_size();
  Residency found;
  // A size of 0 would ask for the whole file.
  if (size == 0) return found;
  // Pages that the range touches, the first and the last in part. size is not 0 here.
  found.pages = (offset + size - 1) / page - offset / page + 1;
  found.os_error = -sys::cachestat(file.descriptor()->get(), offset, size, found.resident);
  found.known = found.os_error == 0;
  if (!found.known) found.resident = 0;
  return found;
}

Residency sampled_residency(std::span<const std::byte> mapped, const File& file, Sampling sampling) {
  const std::uint64_t page = sys::page_size();
  Residency found{.known = is_told(file)};
  // A sample that starts inside a page counts the whole page, since pages are resident as a whole.
  for (std::uint64_t at = 0; at < mapped.size(); at += sampling.step) {
    const auto sample = mapped.subspan(at, std::min(sampling.bytes, mapped.size() - at));
    found.pages += pages_around(sample, page).size() / page;
    // The remaining pages are counted all the same, so that the caller knows the size of what is unknown.
    if (!found.known) continue;
    found.os_error = -for_each_run(sample, [&](std::span<const unsigned char> flags) {
      found.resident += static_cast<std::uint64_t>(std::count_if(flags.begin(), flags.end(), is_resident));
    });
    found.known = found.os_error == 0;
  }
  if (!found.known) found.resident = 0;
  return found;
}

std::vector<bool> resident_pages(const File& file, std::uint64_t offset, std::uint64_t size) {
  require_inside_file(file, offset, size);
  const Bytes mapped = map(borrowed(file), offset, size);
  return resident_pages(mapped.span(), file);
}

std::vector<bool> resident_pages(std::span<const std::byte> mapped, const File& file) {
  // mincore() would report every page as resident.
  if (!is_told(file)) fail_unknown(file, 0, 0);
  std::vector<bool> pages;
  const int result = for_each_run(mapped, [&](std::span<const unsigned char> flags) {
    std::transform(flags.begin(), flags.end(), std::back_inserter(pages), is_resident);
  });
  if (result < 0) fail_unknown(file, 0, -result);
  return pages;
}

std::vector<bool> cached_pages(const File& file, std::uint64_t offset, std::uint64_t size) {
  require_inside_file(file, offset, size);
  if (size == 0) return {};
  const std::uint64_t page = sys::page_size();
  std::vector<std::uint8_t> flags((offset + size - 1) / page - offset / page + 1);
  const auto open = file.descriptor();
  if (const int result = set_cached(open->get(), offset / page, flags); result < 0) fail_unknown(file, offset, -result);
  return {flags.begin(), flags.end()};
}

std::uint64_t read_resident(const File& file, std::uint64_t offset, std::span<std::byte> into) {
  require_inside_file(file, offset, into.size());
  const auto open = file.descriptor();
  std::uint64_t copied = 0;
  while (copied < into.size()) {
    const std::int64_t got = sys::preadv2_nowait(open->get(), offset + copied, into.subspan(copied));
    if (got == -EINTR) continue;
    // EAGAIN: the next page is not resident. EOPNOTSUPP: a file system without RWF_NOWAIT. The others: an old kernel or
    // a sandbox. 0: the end of the file.
    if (got == -EAGAIN || got == -EOPNOTSUPP || got == -ENOSYS || got == -EPERM || got == -EINVAL || got == 0) break;
    if (got < 0)
      throw Error(ErrorCode::io, fmt::format("preadv2() of {} bytes", into.size()),
                  file.at(static_cast<int>(-got), offset));
    copied += static_cast<std::uint64_t>(got);
  }
  return copied;
}

void prefetch(const File& file, std::uint64_t offset, std::uint64_t size) noexcept {
  // posix_fadvise() takes a size of 0 for the rest of the file.
  if (size != 0) advise_file(file, offset, size, POSIX_FADV_WILLNEED);
}

void read_ahead(const File& file, bool wanted) noexcept { file.set_read_ahead(wanted); }

void drop_cache(const File& file, std::uint64_t offset, std::uint64_t size) noexcept {
  if (size != 0) advise_file(file, offset, size, POSIX_FADV_DONTNEED);
}

}  // namespace heft::mmap
