// Memory that runs out at the n-th allocation. A test binary that lists `failing_allocations_dep` gets it in place of
// the system's: malloc and its kin, with what C libraries take, or under a sanitizer, which has its own, operator new
// alone.
#pragma once

#include <cstdint>

namespace heft::test {

/// Fails allocations of all threads from construction to destruction. One at a time.
class FailingAllocations {
 public:
  static constexpr std::uint64_t for_ever = ~std::uint64_t{0};

  /// The first `skip` allocations succeed, the `times` after those fail.
  explicit FailingAllocations(std::uint64_t skip, std::uint64_t times) noexcept;
  ~FailingAllocations();
  FailingAllocations(const FailingAllocations&) = delete;
  FailingAllocations& operator=(const FailingAllocations&) = delete;

  /// Allocations asked for since construction, and how many of them failed.
  [[nodiscard]] std::uint64_t asked() const noexcept;
  [[nodiscard]] std::uint64_t failed() const noexcept;
};

/// Blocks of memory that have been given out and not given back, and mappings (but under a sanitizer, where it is 0).
[[nodiscard]] std::int64_t live_blocks() noexcept;
[[nodiscard]] std::int64_t live_mappings() noexcept;

}  // namespace heft::test
