#include "materialize/memory/arena.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <new>

#include <fmt/format.h>

#include "heft/error.hpp"

namespace heft::engine {
namespace {

constexpr std::size_t heap_alignment = 64;

// Below a huge page the heap is faster than a mapping of one's own: it gives memory again whose pages were touched.
bool is_on_heap(std::uint64_t size_bytes, std::uint64_t alignment) noexcept {
  return size_bytes < Arena::huge_page && alignment <= mmap::page_size();
}

// Returns the first multiple of `alignment` in the memory.
std::byte* aligned(void* memory, std::size_t alignment) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  return static_cast<std::byte*>(memory) + (round_up(address, alignment) - address);
}

Error no_memory(std::uint64_t size_bytes, int os_error) {
  return Error(ErrorCode::out_of_memory,
               fmt::format("expected {} bytes of memory, the system has none to give", size_bytes),
               {.path = {}, .tensor = {}, .offset = {}, .os_error = os_error});
}

}  // namespace

std::shared_ptr<Arena> Arena::allocate(std::uint64_t size_bytes, std::uint64_t alignment) {
  // Sizes come from files: the additions below must not wrap.
  if (size_bytes > std::numeric_limits<std::int64_t>::max() - 2 * std::max<std::uint64_t>(alignment, huge_page))
    throw no_memory(size_bytes, ENOMEM);
  // First the owner, then the memory: no memory is lost when either allocation fails.
  std::shared_ptr<Arena> arena(new Arena);
  arena->take(static_cast<std::size_t>(size_bytes), static_cast<std::size_t>(alignment));
  return arena;
}

void Arena::take(std::size_t size, std::size_t alignment) {
  footprint_ = footprint(size, alignment);
  if (is_on_heap(size, alignment)) {
    mapping_ = ::operator new(footprint_, std::align_val_t{heap_alignment}, std::nothrow);
    if (mapping_ == nullptr) throw no_memory(size, ENOMEM);
    span_ = {aligned(mapping_, alignment), size};
    return;
  }
  // mmap() aligns to a page only, so that as much more is mapped as alignment can need. Its untouched pages take no
  // memory.
  const std::size_t boundary = std::max<std::size_t>(alignment, size < huge_page ? mmap::page_size() : huge_page);
  const std::size_t mapped = size + boundary;
  // MAP_NORESERVE: heft compares with the memory that is left before a large load (require_memory), and most of an
  // arena may never be touched.
  void* const mapping =
      ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw no_memory(size, errno);
  mapping_ = mapping;
  mapped_ = mapped;
  std::byte* const begin = aligned(mapping, boundary);
  span_ = {begin, size};
  // Refused where huge pages are switched off; small ones do then.
  if (size >= huge_page) (void)::madvise(begin, size, MADV_HUGEPAGE);
}

std::uint64_t Arena::footprint(std::uint64_t size_bytes, std::uint64_t alignment) noexcept {
  // As take() allocates: the two are to agree, for estimates to be exact.
  // A larger alignment is room to align in: glibc maps a large block of such an alignment anew each time.
  if (is_on_heap(size_bytes, alignment))
    return round_up(size_bytes, heap_alignment) + (alignment > heap_alignment ? alignment : 0);
  return round_up(size_bytes, size_bytes < huge_page ? mmap::page_size() : huge_page);
}

Arena::~Arena() {
  if (mapped_ != 0)
    ::munmap(mapping_, mapped_);
  else
    ::operator delete(mapping_, std::align_val_t{heap_alignment});
}

void ask_huge_pages(const void* memory, std::size_t size_bytes) noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  // Rounded inwards: the pages at the ends may hold memory of others.
  const std::uintptr_t first = (begin + Arena::huge_page - 1) / Arena::huge_page * Arena::huge_page;
  const std::uintptr_t last = (begin + size_bytes) / Arena::huge_page * Arena::huge_page;
  if (first < last)
    (void)::madvise(static_cast<std::byte*>(const_cast<void*>(memory)) + (first - begin), last - first, MADV_HUGEPAGE);
}

}  // namespace heft::engine
