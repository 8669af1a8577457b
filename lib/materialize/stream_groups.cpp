#include "materialize/stream_groups.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "materialize/memory/arena_destination.hpp"
#include "materialize/plan_state.hpp"
#include "materialize/tensor_specs.hpp"

namespace heft::engine {
namespace {

// Entries by their first byte: sources in the order in which the plan met them, then offsets. Entries without bytes
// come first.
void sort_by_file(const Transfers& transfers, std::vector<std::uint32_t>& order) {
  using Place = std::pair<SourceIndex, std::uint64_t>;
  // Greater than every place, so that the minimum below replaces it.
  constexpr Place nowhere{SourceIndex{0xFFFFFFFF}, 0};
  std::vector<Place> first(order.size(), nowhere);
  for (const Transfer& transfer : transfers.transfers) {
    Place& place = first[position(transfer.entry)];
    place = std::min(place, Place{transfer.source, transfer.from});
  }
  // Entries without transfers are moved to the front: they need nothing of a file.
  std::replace(first.begin(), first.end(), nowhere, Place{});
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return first[a] < first[b]; });
}

}  // namespace

StreamGroups::StreamGroups(const LoadPlan& plan, std::vector<std::uint32_t> entries)
    : order(std::move(entries)), group_of(plan.size()), offsets(plan.size()) {}

StreamGroups StreamGroups::of(const LoadPlan& plan, StreamOrder order, std::uint64_t max_bytes,
                              std::uint64_t alignment) {
  require_alignment(alignment);
  const PlanEntries& entries = PlanAccess::entries(plan);
  std::vector<std::uint32_t> numbers(entries.size());
  std::iota(numbers.begin(), numbers.end(), 0u);
  if (order != StreamOrder::plan) sort_by_file(PlanAccess::transfers(plan), numbers);
  StreamGroups result(plan, std::move(numbers));
  for (std::uint32_t i = 0; i < entries.size(); ++i) {
    const std::uint64_t size_bytes = entries[result.order[i]].size_bytes;
    // Empty tensors join the group before them, so that only the first group can be without bytes.
    if (i == 0 || (size_bytes != 0 && result.groups.back().size_bytes + size_bytes > max_bytes)) result.begin_group();
    result.add(plan, i, alignment);
  }
  return result;
}

StreamGroups StreamGroups::of(const LoadPlan& plan, std::vector<std::uint32_t> order,
                              std::span<const std::uint32_t> ends, std::uint64_t alignment) {
  require_alignment(alignment);
  StreamGroups result(plan, std::move(order));
  std::uint32_t position = 0;
  for (const std::uint32_t end : ends) {
    result.begin_group();
    for (; position < end; ++position) result.add(plan, position, alignment);
  }
  return result;
}

void StreamGroups::begin_group() {
  const auto position = groups.empty() ? 0 : groups.back().last;
  groups.push_back({.first = position, .last = position});
}

// Adds the entry at that position to the last group.
void StreamGroups::add(const LoadPlan& plan, std::uint32_t position, std::uint64_t alignment) {
  const std::uint32_t number = order[position];
  const PlanEntry& entry = PlanAccess::entries(plan)[number];
  StreamGroup& group = groups.back();
  group.last = position + 1;
  group.size_bytes += entry.size_bytes;
  group_of[number] = static_cast<std::uint32_t>(groups.size() - 1);
  // Counted above for the bound, since its bytes are in flight too, but in memory that is the caller's.
  if (entry.has_buffer) return;
  // With the offset in a page that the file has, so that direct reads need no copy: as in an arena of a whole load.
  const Transfers& transfers = PlanAccess::transfers(plan);
  offsets[number] =
      place_after(group.arena_bytes, tensor_spec(entry, transfers.of(EntryIndex{number}), transfers, alignment));
  group.arena_bytes = offsets[number] + entry.size_bytes;
}

std::vector<std::uint64_t> StreamGroups::sizes() const {
  std::vector<std::uint64_t> sizes;
  sizes.reserve(groups.size());
  for (const StreamGroup& group : groups) sizes.push_back(group.size_bytes);
  return sizes;
}

}  // namespace heft::engine
