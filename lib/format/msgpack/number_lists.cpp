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

}  // namespace

const NumberList& NumberLists::add(NumberSteps steps, DType dtype) {
  // Charged before the row is added, so that a file cannot make the table exceed the budget.
  charge_.add(sizeof(NumberList) + steps.table_bytes());
  NumberList list;
  list.dtype = dtype;
  list.steps = std::move(steps);
  return add(std::move(list));
}

const NumberList& NumberLists::add(std::shared_ptr<const SegmentedNumbers> numbers, std::uint64_t base) {
  charge_.add(sizeof(NumberList));
  NumberList list;
  list.dtype = numbers->dtype().require();
  list.segmented = std::move(numbers);
  list.base = base;
  return add(std::move(list));
}

const NumberList& NumberLists::add(NumberList list) {
  list.address = core::align_up(size_, alignment);
  // The count was compared with the bytes of the file, but elements can be wider than their spelling: a u64 that takes
  // one byte in the file takes eight here.
  list.size = core::mul_or_throw(list.count(), info(list.dtype).block_bytes, "bytes of a list of numbers");
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

NumberRun run_of(const NumberList& list, std::uint64_t number) noexcept {
  if (list.segmented) {
    const std::size_t at = list.segmented->segment_of(number);
    const NumberSegment& segment = list.segmented->segments()[at];
    const std::uint64_t begin = list.base + segment.begin;
    return {
        {segment.first, begin}, {segment.first + list.segmented->count_of(at), begin + segment.size}, segment.stride};
  }
  const NumberSteps& steps = list.steps;
  // Numbers of one width have no marks: the whole list is one run.
  if (steps.stride != 0) return {{0, steps.begin}, {steps.count, steps.end}, steps.stride};
  const std::uint64_t mark = number / NumberSteps::mark_step;
  const bool is_last = mark + 1 >= steps.marks.size();
  return {{mark * NumberSteps::mark_step, steps.marks[mark]},
          {is_last ? steps.count : (mark + 1) * NumberSteps::mark_step, is_last ? steps.end : steps.marks[mark + 1]},
          0};
}

NumberPlace place_before(const NumberList& list, std::uint64_t number) noexcept {
  const NumberRun run = run_of(list, number);
  // If the widths differ, the caller steps from the start of the run.
  if (run.stride == 0) return run.begin;
  return {number, run.begin.offset + (number - run.begin.number) * run.stride};
}

void require_place(const NumberRun& run, NumberPlace place) {
  const bool has_place = run.stride != 0 || place.number == run.begin.number || place.number == run.end.number;
  if (!has_place) return;
  // A reader that reaches a recorded place at another offset has stepped over other widths than at open: the file has
  // changed, and its elements would be a mixture.
  const std::uint64_t expected = place.number == run.end.number
                                     ? run.end.offset
                                     : run.begin.offset + (place.number - run.begin.number) * run.stride;
  if (place.offset == expected) return;
  throw Error(
      ErrorCode::changed_on_disk,
      fmt::format("a list of numbers: expected number {} at byte {}, as it was when the file was opened, found it "
                  "at byte {}",
                  place.number, expected, place.offset),
      {.offset = place.offset});
}

std::uint64_t number_size(Spelling spelling, std::span<const std::byte> bytes) noexcept {
  // Of what is no number, one byte: gathering it fails.
  return std::max<std::uint64_t>(spelled_number(spelling, bytes).size, 1);
}

Gathered gather(const NumberList& list, std::span<const std::byte> from, std::uint64_t offset, std::byte* to,
                std::uint64_t count, GatherRun run) {
  if (!list.segmented) return gather_numbers(list.dtype, from, offset, to, count, run);
  return gather_spelled(*list.segmented, list.dtype, from, offset, to, count, run);
}

}  // namespace heft::format
