// format/stored_numbers.hpp: lists of numbers as values of a Catalog whose elements are not in memory: they are read
// from the file when they are looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/input.hpp"
#include "format/catalog.hpp"
#include "format/number_segments.hpp"
#include "heft/bytes.hpp"

namespace heft::format {

/// The bytes that the lists of a catalog lie in: memory, or the file, which the record room sets. Keeps the nodes of
/// the segment used last, so that a walk over a list reads each segment once. Thread-safe after set_file().
class NumberBytes {
 public:
  /// `memory` is empty for lists that lie in the file.
  explicit NumberBytes(Bytes memory = {}) noexcept : memory_(std::move(memory)) {}

  /// `file` is used while elements are read, and must throw if it has other bytes than when it was opened.
  void set_file(std::unique_ptr<const core::Input> file) noexcept { file_ = std::move(file); }
  [[nodiscard]] const Bytes& memory() const noexcept { return memory_; }

  /// Returns a number of a list whose offsets are relative to `base`. Throws Error{changed_on_disk} if its segment has
  /// other numbers than at open, and what the file throws.
  [[nodiscard]] Node element(const SegmentedNumbers& numbers, std::uint64_t base, std::uint64_t number) const;

 private:
  Bytes memory_;
  std::unique_ptr<const core::Input> file_;
  mutable std::mutex mutex_;
  mutable std::vector<Node> nodes_;  // of one segment
  mutable const SegmentedNumbers* list_ = nullptr;
  mutable std::size_t segment_ = 0;
};

/// The elements of one list.
class StoredNumbers final : public PackedElements {
 public:
  /// Offsets of `numbers` are relative to `base` of `bytes`.
  StoredNumbers(std::shared_ptr<const SegmentedNumbers> numbers, std::uint64_t base,
                std::shared_ptr<const NumberBytes> bytes) noexcept
      : numbers_(std::move(numbers)), base_(base), bytes_(std::move(bytes)) {}

  [[nodiscard]] Node element(std::uint32_t index) const override { return bytes_->element(*numbers_, base_, index); }
  [[nodiscard]] std::uint64_t table_bytes() const noexcept override;

  [[nodiscard]] const std::shared_ptr<const SegmentedNumbers>& numbers() const noexcept { return numbers_; }
  [[nodiscard]] std::uint64_t base() const noexcept { return base_; }
  /// Returns the memory that the list lies in; empty: the file.
  [[nodiscard]] const Bytes& memory() const noexcept { return bytes_->memory(); }

 private:
  std::shared_ptr<const SegmentedNumbers> numbers_;
  std::uint64_t base_;
  std::shared_ptr<const NumberBytes> bytes_;
};

/// Returns the bytes of lists that lie in `input`: in memory, or those of the catalog's file.
[[nodiscard]] std::shared_ptr<const NumberBytes> number_bytes(Catalog& catalog, const core::Input& input);

/// Returns the nodes of one segment, whose bytes are `bytes`, which lie at `offset`. Throws Error{changed_on_disk}
/// unless they are exactly that many numbers.
[[nodiscard]] std::vector<Node> nodes_of(Spelling spelling, std::span<const std::byte> bytes, std::uint64_t offset,
                                         std::uint64_t count);

}  // namespace heft::format
