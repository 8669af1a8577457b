// format/msgpack/number_lists.hpp: lists of numbers of one file as one run of packed elements, which no memory holds: what lies
// at an address of it is gathered from the file when it is asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/metadata_budget.hpp"
#include "format/msgpack/numbers.hpp"
#include "heft/dtype.hpp"

namespace heft::format {

/// Where a list lies in the file, and where its elements lie in the run.
struct NumberList {
  std::uint64_t address = 0;  ///< Of its first element.
  std::uint64_t size = 0;     ///< Bytes of its elements.
  DType dtype = DType::unknown;
  NumberSteps steps;
};

/// Filled while a file is read, then immutable. Lists are in the file's order, and their addresses go up with it.
class NumberLists {
 public:
  /// The tables count what they take in `budget`, which may be null.
  explicit NumberLists(std::shared_ptr<core::MetadataBudget> budget = {}) noexcept : charge_(std::move(budget)) {}

  /// Adds a list of elements of `dtype`; returns it. Throws Error{corrupt} when the run would pass 64 bits,
  /// Error{limit_exceeded} when the budget does not have its tables.
  const NumberList& add(NumberSteps steps, DType dtype);

  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_; }
  [[nodiscard]] const std::vector<NumberList>& lists() const noexcept { return lists_; }
  /// The number of the first list that ends after `address`; lists().size() when there is none.
  [[nodiscard]] std::size_t find(std::uint64_t address) const noexcept;
  /// Bytes of the tables.
  [[nodiscard]] std::uint64_t table_bytes() const noexcept;

 private:
  std::vector<NumberList> lists_;
  std::uint64_t size_ = 0;
  core::MetadataCharge charge_;
};

/// Where a reader stands in a list: before number `number`, whose head is at `offset` of the file.
struct NumberPlace {
  std::uint64_t number = 0;
  std::uint64_t offset = 0;
};

/// The nearest place at or before `number` that the steps of the list lead to at once.
[[nodiscard]] NumberPlace place_before(const NumberList& list, std::uint64_t number) noexcept;

/// Throws Error{changed_on_disk} when the steps know where `place.number` lies, and it is not at place.offset.
void require_place(const NumberList& list, NumberPlace place);

}  // namespace heft::format
