#include "support/failing_allocations.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace heft::test {
namespace {

// Constant-initialised, because memory is allocated before any constructor runs.
constinit std::atomic<bool> armed = false;
constinit std::atomic<std::uint64_t> first_failure = 0;
constinit std::atomic<std::uint64_t> failures = 0;
constinit std::atomic<std::uint64_t> asked_count = 0;
constinit std::atomic<std::uint64_t> failed_count = 0;
constinit std::atomic<std::int64_t> blocks = 0;
constinit std::atomic<std::int64_t> mappings = 0;

bool fails() noexcept {
  if (!armed.load(std::memory_order_relaxed)) return false;
  const std::uint64_t number = asked_count.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t first = first_failure.load(std::memory_order_relaxed);
  if (number < first || number - first >= failures.load(std::memory_order_relaxed)) return false;
  failed_count.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void* counted(void* block) noexcept {
  if (block != nullptr) blocks.fetch_add(1, std::memory_order_relaxed);
  return block;
}

}  // namespace

FailingAllocations::FailingAllocations(std::uint64_t skip, std::uint64_t times) noexcept {
  first_failure = skip;
  failures = times;
  asked_count = 0;
  failed_count = 0;
  armed = true;
}

FailingAllocations::~FailingAllocations() { armed = false; }
std::uint64_t FailingAllocations::asked() const noexcept { return asked_count; }
std::uint64_t FailingAllocations::failed() const noexcept { return failed_count; }
std::int64_t live_blocks() noexcept { return blocks; }
std::int64_t live_mappings() noexcept { return mappings; }

}  // namespace heft::test

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

// The sanitizer replaces malloc, so only operator new is replaced here.
namespace {

void* allocate(std::size_t size, std::size_t alignment) noexcept {
  if (heft::test::fails()) return nullptr;
  const std::size_t whole = (size + alignment - 1) / alignment * alignment;
  return heft::test::counted(std::aligned_alloc(alignment, whole == 0 ? alignment : whole));
}

void* allocate_or_throw(std::size_t size, std::size_t alignment) {
  if (void* block = allocate(size, alignment)) return block;
  throw std::bad_alloc();
}

void release(void* block) noexcept {
  if (block == nullptr) return;
  heft::test::blocks.fetch_sub(1, std::memory_order_relaxed);
  std::free(block);
}

constexpr std::size_t plain = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

}  // namespace

void* operator new(std::size_t size) { return allocate_or_throw(size, plain); }
void* operator new[](std::size_t size) { return allocate_or_throw(size, plain); }
void* operator new(std::size_t size, std::align_val_t to) {
  return allocate_or_throw(size, static_cast<std::size_t>(to));
}
void* operator new[](std::size_t size, std::align_val_t to) {
  return allocate_or_throw(size, static_cast<std::size_t>(to));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, plain); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, plain); }
void* operator new(std::size_t size, std::align_val_t to, const std::nothrow_t&) noexcept {
  return allocate(size, static_cast<std::size_t>(to));
}
void operator delete(void* block) noexcept { release(block); }
void operator delete[](void* block) noexcept { release(block); }
void operator delete(void* block, std::size_t) noexcept { release(block); }
void operator delete[](void* block, std::size_t) noexcept { release(block); }
void operator delete(void* block, std::align_val_t) noexcept { release(block); }
void operator delete[](void* block, std::align_val_t) noexcept { release(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { release(block); }
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept { release(block); }

#else

// The C library's functions, under the names that it exports for programs that replace the usual ones.
extern "C" {

void* __libc_malloc(std::size_t);                 // NOLINT
void* __libc_calloc(std::size_t, std::size_t);    // NOLINT
void* __libc_realloc(void*, std::size_t);         // NOLINT
void* __libc_memalign(std::size_t, std::size_t);  // NOLINT
void __libc_free(void*);                          // NOLINT

static void* or_no_memory(void* block) {
  if (block == nullptr) errno = ENOMEM;
  return heft::test::counted(block);
}

void* malloc(std::size_t size) { return or_no_memory(heft::test::fails() ? nullptr : __libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) {
  return or_no_memory(heft::test::fails() ? nullptr : __libc_calloc(count, size));
}
void* memalign(std::size_t alignment, std::size_t size) {
  return or_no_memory(heft::test::fails() ? nullptr : __libc_memalign(alignment, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }

int posix_memalign(void** into, std::size_t alignment, std::size_t size) {
  void* const block = memalign(alignment, size);
  if (block == nullptr) return ENOMEM;
  *into = block;
  return 0;
}

void free(void* block) {
  if (block != nullptr) heft::test::blocks.fetch_sub(1, std::memory_order_relaxed);
  __libc_free(block);
}

void* realloc(void* block, std::size_t size) {
  if (block == nullptr) return malloc(size);
  if (size == 0) return free(block), nullptr;
  if (heft::test::fails()) return errno = ENOMEM, nullptr;
  return __libc_realloc(block, size);
}

// Counts the mappings of callers that use the function's name, as heft and Boost do; the C library's stacks and arenas
// do not.
void* mmap(void* where, std::size_t size, int protection, int flags, int handle, off_t offset) noexcept {
  const long result = ::syscall(SYS_mmap, where, size, protection, flags, handle, offset);
  if (result != -1) heft::test::mappings.fetch_add(1, std::memory_order_relaxed);
  return reinterpret_cast<void*>(result);
}

int munmap(void* where, std::size_t size) noexcept {
  const long result = ::syscall(SYS_munmap, where, size);
  if (result == 0) heft::test::mappings.fetch_sub(1, std::memory_order_relaxed);
  return static_cast<int>(result);
}

}  // extern "C"

#endif
