// Memory that runs out at the n-th allocation. In test binaries that list `failing_allocations_dep` it replaces the
// system's allocator: malloc and its variants, also for C libraries; under a sanitizer, which replaces malloc itself,
// operator new only.
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

  /// Return the allocations since construction, and how many of them failed.
  [[nodiscard]] std::uint64_t asked() const noexcept;
  [[nodiscard]] std::uint64_t failed() const noexcept;
};

/// Returns the blocks of memory and the mappings that are not yet freed; 0 under a sanitizer.
[[nodiscard]] std::int64_t live_blocks() noexcept;
[[nodiscard]] std::int64_t live_mappings() noexcept;

}  // namespace heft::test
