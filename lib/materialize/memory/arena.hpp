// materialize/memory/arena.hpp: fresh host memory: for tensors, and for staging.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "mmap/pages.hpp"

namespace heft::engine {

/// The smallest multiple of `alignment`, a power of two, that is at least `value`. Requires that it fits 64 bits.
[[nodiscard]] constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t alignment) noexcept {
  return (value + alignment - 1) & ~(alignment - 1);
}

/// Memory of the heap where it is smaller than a huge page; else anonymous memory, on huge pages where the system
/// grants them, given back to it at destruction. Pages are not touched: the kernel allocates each at the first write,
/// on the node of the writing thread.
class Arena {
 public:
  /// Bytes of a huge page; arenas of at least that many begin on one.
  static constexpr std::size_t huge_page = mmap::huge_page_bytes;

  /// `size_bytes` > 0; `alignment` is a power of two. Throws Error{out_of_memory}.
  static std::shared_ptr<Arena> allocate(std::uint64_t size_bytes, std::uint64_t alignment);
  /// Memory that allocate() takes from the system for these arguments, once all of it has been touched.
  static std::uint64_t footprint(std::uint64_t size_bytes, std::uint64_t alignment) noexcept;

  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  [[nodiscard]] std::span<std::byte> span() const noexcept { return span_; }
  /// The footprint() that it was allocated with.
  [[nodiscard]] std::uint64_t footprint() const noexcept { return footprint_; }

 private:
  Arena() noexcept = default;
  void take(std::size_t size, std::size_t alignment);
  void* mapping_ = nullptr;
  std::size_t mapped_ = 0;  // 0: the memory is the heap's
  std::uint64_t footprint_ = 0;
  std::span<std::byte> span_;
};

/// Requests huge pages for untouched memory: for the whole huge pages inside it.
void ask_huge_pages(const void* memory, std::size_t size_bytes) noexcept;

/// Room for a table of `count` rows: one that is large costs a page fault for every 2 MiB then, not for every 4 KiB.
template <class Row>
void reserve_huge(std::vector<Row>& table, std::size_t count) {
  table.reserve(count);
  ask_huge_pages(table.data(), table.capacity() * sizeof(Row));
}

}  // namespace heft::engine
