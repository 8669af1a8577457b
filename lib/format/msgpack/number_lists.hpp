// format/msgpack/number_lists.hpp: an address space of the packed elements of all number lists of a file. The elements
// are not in memory: those at an address are gathered from the file on demand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/metadata_budget.hpp"
#include "format/msgpack/numbers.hpp"
#include "format/number_segments.hpp"
#include "heft/dtype.hpp"

namespace heft::format {

/// The place of a list in the file, and the address of its elements.
struct NumberList {
  std::uint64_t address = 0;  ///< Address of its first element.
  std::uint64_t size = 0;     ///< Bytes of its elements.
  DType dtype = DType::unknown;
  NumberSteps steps;
  /// Set for a list that is a value, in place of `steps`. Offsets are relative to `base`.
  std::shared_ptr<const SegmentedNumbers> segmented = {};
  std::uint64_t base = 0;

  [[nodiscard]] std::uint64_t count() const noexcept { return segmented ? segmented->size() : steps.count; }
  [[nodiscard]] Spelling spelling() const noexcept { return segmented ? segmented->spelling() : Spelling::msgpack; }
};

/// The lists of a file, in file order and by ascending address. Filled while the file is read, then immutable.
class NumberLists {
 public:
  /// Charges the tables to `budget`, which can be null.
  explicit NumberLists(std::shared_ptr<core::MetadataBudget> budget = {}) noexcept : charge_(std::move(budget)) {}

  /// Adds a list of elements of `dtype` and returns it. Throws Error{corrupt} if addresses would exceed 64 bits,
  /// Error{limit_exceeded} if the budget is used up.
  const NumberList& add(NumberSteps steps, DType dtype);
  /// The same for a list that is a value, whose tables are charged already. Also throws what CommonDType::require()
  /// throws.
  const NumberList& add(std::shared_ptr<const SegmentedNumbers> numbers, std::uint64_t base);

  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_; }
  [[nodiscard]] const std::vector<NumberList>& lists() const noexcept { return lists_; }
  /// Returns the index of the first list that ends after `address`; lists().size() if there is none.
  [[nodiscard]] std::size_t find(std::uint64_t address) const noexcept;
  /// Returns the bytes of the tables.
  [[nodiscard]] std::uint64_t table_bytes() const noexcept;

 private:
  const NumberList& add(NumberList list);

  std::vector<NumberList> lists_;
  std::uint64_t size_ = 0;
  core::MetadataCharge charge_;
};

/// A position in a list: before number `number`, whose head is at `offset` of the file.
struct NumberPlace {
  std::uint64_t number = 0;
  std::uint64_t offset = 0;
};

/// Returns the last place at or before `number` whose offset the steps contain.
[[nodiscard]] NumberPlace place_before(const NumberList& list, std::uint64_t number) noexcept;

/// Numbers that follow each other without a gap: those from a recorded place to the next one.
struct NumberRun {
  NumberPlace begin;
  NumberPlace end;           ///< Behind the last number.
  std::uint32_t stride = 0;  ///< Bytes of each number; 0: they differ.
};

/// Returns the run that contains `number` < list.count().
[[nodiscard]] NumberRun run_of(const NumberList& list, std::uint64_t number) noexcept;

/// Throws Error{changed_on_disk} if the offset of `place.number`, in the run or behind it, is recorded and is not
/// place.offset.
void require_place(const NumberRun& run, NumberPlace place);

/// Returns the bytes of the number at the front of `bytes`, or those needed to tell.
[[nodiscard]] std::uint64_t number_size(Spelling spelling, std::span<const std::byte> bytes) noexcept;

/// gather_numbers() or gather_spelled().
Gathered gather(const NumberList& list, std::span<const std::byte> from, std::uint64_t offset, std::byte* to,
                std::uint64_t count, GatherRun run);

}  // namespace heft::format
