// bench/subjects/memory.hpp: huge-page memory and threads for the yardsticks.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <mutex>
#include <new>
#include <span>
#include <thread>
#include <utility>
#include <vector>

namespace bench {

/// Runs work(0) ... work(count - 1), each on a new thread. After all have ended, rethrows an exception of one of them.
template <class F>
void on_threads(unsigned count, F work) {
  std::exception_ptr failure;
  std::mutex failing;
  const auto guarded = [&](unsigned number) {
    try {
      work(number);
    } catch (...) {
      const std::lock_guard lock(failing);
      failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> workers;
    for (unsigned i = 0; i < count; ++i) workers.emplace_back(guarded, i);
  }
  if (failure) std::rethrow_exception(failure);
}

/// Runs work(begin, end) on `threads` threads, each with one range of [0, total), cut at multiples of `grain`. Throws
/// as on_threads().
template <class F>
void in_parallel(unsigned threads, std::uint64_t total, std::uint64_t grain, F work) {
  const std::uint64_t grains = (total + grain - 1) / grain;
  const auto cut = [=](unsigned number) { return std::min(total, grains * number / threads * grain); };
  on_threads(threads, [&](unsigned number) {
    if (cut(number) < cut(number + 1)) work(cut(number), cut(number + 1));
  });
}

/// Anonymous memory on huge pages, the fastest to fault in; untouched until it is written.
class HugeMemory {
 public:
  static constexpr std::uint64_t page = std::uint64_t{2} << 20;

  HugeMemory() = default;
  explicit HugeMemory(std::uint64_t bytes) : reserved_((bytes + page - 1) / page * page + page), size_(bytes) {
    base_ = ::mmap(nullptr, reserved_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    ::madvise(data(), reserved_ - page, MADV_HUGEPAGE);
  }
  HugeMemory(HugeMemory&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)),
        reserved_(std::exchange(other.reserved_, 0)),
        size_(std::exchange(other.size_, 0)) {}
  HugeMemory& operator=(HugeMemory other) noexcept {
    std::swap(base_, other.base_), std::swap(reserved_, other.reserved_), std::swap(size_, other.size_);
    return *this;
  }
  ~HugeMemory() {
    if (base_ != nullptr) ::munmap(base_, reserved_);
  }

  [[nodiscard]] std::byte* data() const noexcept {
    return reinterpret_cast<std::byte*>((reinterpret_cast<std::uintptr_t>(base_) + page - 1) / page * page);
  }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_; }
  [[nodiscard]] std::span<std::byte> span() const noexcept { return {data(), static_cast<std::size_t>(size_)}; }

  /// Makes every page resident, with bytes that differ from zero.
  void prefault(unsigned threads) const {
    in_parallel(threads, size_, page,
                [this](std::uint64_t begin, std::uint64_t end) { std::memset(data() + begin, 0x3c, end - begin); });
  }

 private:
  void* base_ = nullptr;
  std::uint64_t reserved_ = 0;
  std::uint64_t size_ = 0;
};

/// Returns a destination of that size: untouched, or already resident when `reused`.
inline HugeMemory destination(std::uint64_t bytes, bool reused, unsigned threads) {
  HugeMemory memory(bytes);
  if (reused) memory.prefault(threads);
  return memory;
}

}  // namespace bench
