#include "mmap/mapping.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <utility>
#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/mapped_region.hpp>

#include "core/checked.hpp"
#include "heft/error.hpp"
#include "mmap/pages.hpp"
#include "mmap/syscalls.hpp"

namespace heft::mmap {
namespace {

namespace ipc = boost::interprocess;

// MADV_POPULATE_READ of Linux 5.14, which is missing in the headers of older systems.
constexpr int populate_read = 22;

static_assert(sizeof(std::size_t) >= sizeof(std::uint64_t),
              "mappings of whole checkpoints need a 64-bit address space");

// Passes an open descriptor to mapped_region. Boost's file_mapping would open the path again, without O_CLOEXEC.
class Mappable {
 public:
  explicit Mappable(int handle) noexcept : handle_(handle) {}
  [[nodiscard]] ipc::mapping_handle_t get_mapping_handle() const noexcept {
    return ipc::ipcdetail::mapping_handle_from_file_handle(handle_);
  }

 private:
  int handle_;
};

// The owner of a mapping's Bytes: the pages and their file.
struct Region {
  std::shared_ptr<const File> file;
  ipc::mapped_region pages;
};

// Maps the range. mapped_region rounds the offset down to a page and returns the address of the requested byte.
ipc::mapped_region map_pages(const File& file, std::uint64_t offset, std::uint64_t size) {
  const auto open = file.descriptor();
  try {
    return {Mappable(open->get()), ipc::read_only, static_cast<ipc::offset_t>(offset), static_cast<std::size_t>(size)};
  } catch (const ipc::interprocess_exception& failure) {
    const int os_error = failure.get_native_error();
    // ENOMEM is no sign of short memory alone: the process can have reached vm.max_map_count or RLIMIT_AS.
    throw Error(os_error == ENOMEM ? ErrorCode::out_of_memory : ErrorCode::io, fmt::format("mmap() of {} bytes", size),
                file.at(os_error, offset));
  }
}

// Returns the current size of the file, or the size at open if fstat() fails.
std::uint64_t size_now(const File& file) {
  const auto open = file.descriptor();
  struct ::stat status {};
  return sys::fstat(open->get(), status) == 0 ? static_cast<std::uint64_t>(status.st_size) : file.size_bytes();
}

// Throws Error{changed_on_disk} if the file is shorter than at open. A truncation makes mlock() and madvise() fail with
// errors of their own, which would name the wrong cause.
void require_not_shrunk(const File& file, int os_error) {
  const std::uint64_t size = size_now(file);
  if (size < file.size_bytes())
    throw Error(ErrorCode::changed_on_disk,
                fmt::format("expected {} bytes as when it was mapped, the file has {}", file.size_bytes(), size),
                file.at(os_error));
}

// Throws the Error of a failed populate(): a truncation first, because it explains the failure (EFAULT) too.
[[noreturn]] void fail_populate(std::size_t size, const File& file, int os_error) {
  require_not_shrunk(file, os_error);
  const ErrorCode code = os_error == ENOMEM ? ErrorCode::out_of_memory : ErrorCode::io;
  throw Error(code, fmt::format("madvise() of {} bytes, to read them into memory", size), file.at(os_error));
}

// Returns madvise()'s flag.
int flag_of(Advice advice) noexcept {
  switch (advice) {
    case Advice::sequential: return MADV_SEQUENTIAL;
    case Advice::random: return MADV_RANDOM;
    case Advice::will_need: return MADV_WILLNEED;
    case Advice::huge_pages: return MADV_HUGEPAGE;
    case Advice::normal: break;
  }
  return MADV_NORMAL;
}

}  // namespace

std::size_t page_size() noexcept { return sys::page_size(); }

Bytes map(std::shared_ptr<const File> file, std::uint64_t offset, std::uint64_t size) {
  // Linux maps past the end of a file without an error, and touching such a page raises SIGBUS.
  if (!core::inside(offset, size, file->size_bytes()))
    throw Error(
        ErrorCode::out_of_range,
        fmt::format("expected a range inside the file's {} bytes, found {} bytes to map", file->size_bytes(), size),
        file->at(0, offset));
  if (size == 0) return {};
  ipc::mapped_region pages = map_pages(*file, offset, size);
  // Taken before the move of `pages`. The address of the mapping does not change with it.
  const std::span<const std::byte> bytes(static_cast<const std::byte*>(pages.get_address()), pages.get_size());
  return {bytes, std::make_shared<const Region>(Region{std::move(file), std::move(pages)})};
}

Bytes map(std::shared_ptr<const File> file) {
  const std::uint64_t size = file->size_bytes();
  return map(std::move(file), 0, size);
}

void advise(std::span<const std::byte> mapped, Advice advice) noexcept {
  const auto pages = pages_around(mapped, sys::page_size());
  // Failures are ignored: advice changes speed, no result.
  if (!pages.empty()) sys::madvise(pages.data(), pages.size(), flag_of(advice));
}

bool populate(std::span<const std::byte> mapped, const File& file) {
  const auto pages = pages_around(mapped, sys::page_size());
  if (pages.empty()) return true;
  int result = -EINTR;
  while (result == -EINTR) result = sys::madvise(pages.data(), pages.size(), populate_read);
  // EINVAL: a kernel before 5.14. The others come from sandboxes that filter madvise().
  if (result == -EINVAL || result == -EPERM || result == -EACCES || result == -ENOSYS) return false;
  if (result < 0) fail_populate(mapped.size(), file, -result);
  // madvise() reports no truncation inside the last page, whose lost bytes read as zeros.
  require_not_shrunk(file, 0);
  return true;
}

void drop(std::span<const std::byte> mapped) noexcept {
  // Narrowed to whole pages: a page at an end can hold bytes of a neighbour that is in use. Reading a dropped page
  // again only faults it in from the page cache, because the mapping is never written.
  const auto pages = pages_inside(mapped, sys::page_size());
  if (!pages.empty()) sys::madvise(pages.data(), pages.size(), MADV_DONTNEED);
}

void lock(std::span<const std::byte> mapped, const File& file) {
  const auto pages = pages_around(mapped, sys::page_size());
  if (pages.empty()) return;
  const int result = sys::mlock(pages.data(), pages.size());
  if (result == 0) return;
  // mlock() of pages behind the end of a truncated file fails with ENOMEM, which must not be blamed on the limit.
  require_not_shrunk(file, -result);
  throw Error(ErrorCode::out_of_memory,
              fmt::format("mlock() of {} bytes, RLIMIT_MEMLOCK is {} bytes (raise it with ulimit -l, or lock less)",
                          pages.size(), sys::memlock_limit()),
              file.at(-result));
}

void unlock(std::span<const std::byte> mapped) noexcept {
  const auto pages = pages_around(mapped, sys::page_size());
  if (!pages.empty()) sys::munlock(pages.data(), pages.size());
}

}  // namespace heft::mmap
