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

// Pages asked about in one call: 64 MiB of file for a buffer that fits the stack.
constexpr std::size_t pages_a_call = 16 << 10;
using Flags = std::array<unsigned char, pages_a_call>;

ErrorPlace at(const File& file, int os_error, std::uint64_t offset) {
  return {.path = file.path(), .tensor = {}, .offset = offset, .os_error = os_error};
}

// The kernel's own test of who may learn from mincore (can_do_mincore), as far as it can be made from outside.
bool is_told(const File& file) {
  const auto open = file.descriptor();
  struct ::stat status {};
  if (sys::fstat(open->get(), status) == 0 && status.st_uid == sys::geteuid()) return true;
  return sys::faccess_write(open->get()) == 0;
}

// Advice that cannot be given is not given.
void advise_file(const File& file, std::uint64_t offset, std::uint64_t size, int advice) noexcept {
  try {
    sys::posix_fadvise(file.descriptor()->get(), offset, size, advice);
  } catch (const std::exception&) {
    return;
  }
}

// For the duration of a call in which the caller keeps the file.
std::shared_ptr<const File> borrowed(const File& file) noexcept { return {std::shared_ptr<const File>(), &file}; }

void require_inside_file(const File& file, std::uint64_t offset, std::uint64_t size) {
  if (!core::inside(offset, size, file.size_bytes()))
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected a range of its {} bytes, asked about {}", file.size_bytes(), size),
                at(file, 0, offset));
}

// Calls `visit` with the flags of consecutive runs of the pages around `mapped`.
template <class Visit>
void for_each_run(const File& file, std::uint64_t offset, std::span<const std::byte> mapped, Visit visit) {
  const std::size_t page = sys::page_size();
  auto left = pages_around(mapped, page);
  Flags flags;
  while (!left.empty()) {
    const auto run = left.first(std::min(left.size(), pages_a_call * page));
    const int result = sys::mincore(run.data(), run.size(), flags.data());
    if (result < 0) throw Error(ErrorCode::io, "mincore()", at(file, -result, offset));
    visit(std::span<const unsigned char>(flags).first(run.size() / page));
    left = left.subspan(run.size());
  }
}

constexpr bool is_resident(unsigned char flag) noexcept { return (flag & 1) != 0; }

}  // namespace

Residency residency(std::span<const std::byte> mapped, const File& file) {
  return sampled_residency(mapped, file, {.step = mapped.size(), .bytes = mapped.size()});
}

Residency residency(const File& file, std::uint64_t offset, std::uint64_t size) {
  require_inside_file(file, offset, size);
  const Bytes mapped = map(borrowed(file), offset, size);
  return residency(mapped.span(), file);
}

Residency sampled_residency(const File& file, std::uint64_t offset, std::uint64_t size, Sampling sampling) {
  require_inside_file(file, offset, size);
  const Bytes mapped = map(borrowed(file), offset, size);
  return sampled_residency(mapped.span(), file, sampling);
}

Residency sampled_residency(std::span<const std::byte> mapped, const File& file, Sampling sampling) {
  const std::uint64_t page = sys::page_size();
  Residency found{.known = is_told(file)};
  for (std::uint64_t at = 0; at < mapped.size(); at += sampling.step) {
    const auto sample = mapped.subspan(at, std::min(sampling.bytes, mapped.size() - at));
    found.pages += pages_around(sample, page).size() / page;
    if (!found.known) continue;
    for_each_run(file, 0, sample, [&](std::span<const unsigned char> flags) {
      found.resident += static_cast<std::uint64_t>(std::count_if(flags.begin(), flags.end(), is_resident));
    });
  }
  return found;
}

std::vector<bool> resident_pages(const File& file, std::uint64_t offset, std::uint64_t size) {
  require_inside_file(file, offset, size);
  if (!is_told(file))
    throw Error(ErrorCode::unsupported,
                "the kernel tells which pages are in memory only to who owns or may write the file",
                at(file, 0, offset));
  const Bytes mapped = map(borrowed(file), offset, size);
  std::vector<bool> pages;
  for_each_run(file, offset, mapped.span(), [&](std::span<const unsigned char> flags) {
    std::transform(flags.begin(), flags.end(), std::back_inserter(pages), is_resident);
  });
  return pages;
}

std::uint64_t read_resident(const File& file, std::uint64_t offset, std::span<std::byte> into) {
  require_inside_file(file, offset, into.size());
  const auto open = file.descriptor();
  std::uint64_t copied = 0;
  while (copied < into.size()) {
    const std::int64_t got = sys::preadv2_nowait(open->get(), offset + copied, into.subspan(copied));
    if (got == -EINTR) continue;
    if (got == -EAGAIN || got == -EOPNOTSUPP || got == -ENOSYS || got == 0) break;
    if (got < 0)
      throw Error(ErrorCode::io, fmt::format("preadv2() of {} bytes", into.size()),
                  at(file, static_cast<int>(-got), offset));
    copied += static_cast<std::uint64_t>(got);
  }
  return copied;
}

void prefetch(const File& file, std::uint64_t offset, std::uint64_t size) noexcept {
  // To the system a size of 0 means all the rest of the file.
  if (size != 0) advise_file(file, offset, size, POSIX_FADV_WILLNEED);
}

void read_ahead(const File& file, bool wanted) noexcept {
  file.set_read_ahead(wanted);
}

void drop_cache(const File& file, std::uint64_t offset, std::uint64_t size) noexcept {
  if (size != 0) advise_file(file, offset, size, POSIX_FADV_DONTNEED);
}

}  // namespace heft::mmap
