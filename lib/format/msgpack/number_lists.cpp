#include "format/msgpack/number_lists.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

// Alignment of the first element of every list, that of the largest type.
constexpr std::uint64_t alignment = 8;

// Returns true if the steps contain the offset of that number.
bool has_place(const NumberList& list, std::uint64_t number) noexcept {
  return list.steps.stride != 0 || number % NumberSteps::mark_step == 0 || number == list.steps.count;
}

}  // namespace

const NumberList& NumberLists::add(NumberSteps steps, DType dtype) {
  // Charged before the row is added, so that a file cannot make the table exceed the budget.
  charge_.add(sizeof(NumberList) + steps.table_bytes());
  NumberList list;
  list.address = core::align_up(size_, alignment);
  // `count` was compared with the bytes of the file, but elements can be wider than their spelling: a u64 that takes
  // one byte in the file takes eight here.
  list.size = core::mul_or_throw(steps.count, info(dtype).block_bytes, "bytes of a list of numbers");
  list.dtype = dtype;
  list.steps = std::move(steps);
  size_ = core::add_or_throw(list.address, list.size, "bytes of all lists of numbers");
  lists_.push_back(std::move(list));
  return lists_.back();
}

std::size_t NumberLists::find(std::uint64_t address) const noexcept {
  // Lists are sorted by address. Gaps of the alignment belong to the list after them.
  const auto found =
      std::ranges::upper_bound(lists_, address, {}, [](const NumberList& list) { return list.address + list.size; });
  return static_cast<std::size_t>(found - lists_.begin());
}

std::uint64_t NumberLists::table_bytes() const noexcept {
  std::uint64_t bytes = lists_.capacity() * sizeof(NumberList);
  for (const NumberList& list : lists_) bytes += list.steps.table_bytes();
  return bytes;
}

NumberPlace place_before(const NumberList& list, std::uint64_t number) noexcept {
  if (list.steps.stride != 0) return {number, list.steps.begin + number * list.steps.stride};
  // The widths differ: only every mark_step-th number has a recorded offset, and the caller steps from there.
  const std::uint64_t mark = number / NumberSteps::mark_step;
  return {mark * NumberSteps::mark_step, list.steps.marks[mark]};
}

void require_place(const NumberList& list, NumberPlace place) {
  if (!has_place(list, place.number)) return;
  // A reader that reaches a recorded place at another offset has stepped over other widths than at open: the file has
  // changed, and its elements would be a mixture.
  const std::uint64_t expected =
      place.number == list.steps.count ? list.steps.end : place_before(list, place.number).offset;
  if (place.offset == expected) return;
  throw Error(
      ErrorCode::changed_on_disk,
      fmt::format("a list of numbers: expected number {} at byte {}, as it was when the file was opened, found it "
                  "at byte {}",
                  place.number, expected, place.offset),
      {.offset = place.offset});
}

}  // namespace heft::format
