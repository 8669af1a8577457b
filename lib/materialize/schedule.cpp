#include "materialize/schedule.hpp"

#include <algorithm>
#include <numeric>

namespace heft::engine {
namespace {

// Adds the run of each combination of steps along `axes`, of which the first counts `count`.
void add_ranges(std::vector<Range>& ranges, std::span<const Axis> axes, std::int64_t count, std::uint64_t from,
                std::uint64_t run) {
  if (axes.empty()) return ranges.push_back({from, from + run});
  // Recursion is as deep as the part has axes: max_axes at most.
  for (std::int64_t i = 0; i < count; ++i)
    add_ranges(ranges, axes.subspan(1), axes.size() > 1 ? axes[1].count : 1,
               from + static_cast<std::uint64_t>(i) * as_bytes(axes[0].from_step), run);
}

// Sorts ranges, and joins those that overlap or have a gap of at most `gap` bytes between them.
void merge_ranges(std::vector<Range>& ranges, std::uint64_t gap) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  std::size_t kept = 0;
  // Merges in place: `kept` is never past the range that is read.
  for (const Range& range : ranges) {
    if (kept > 0 && range.begin <= ranges[kept - 1].end + gap)
      ranges[kept - 1].end = std::max(ranges[kept - 1].end, range.end);
    else
      ranges[kept++] = range;
  }
  ranges.resize(kept);
}

}  // namespace

std::pair<std::size_t, std::uint64_t> inner_run(const Schedule& schedule, const Part& part,
                                                std::uint64_t gap) noexcept {
  const std::span<const Axis> axes = schedule.axes_of(part);
  std::uint64_t run = schedule.conversion(part).from_bytes();
  std::size_t inner = 0;
  // From the innermost axis outwards. Steps of the source only grow that way, so the first gap that is too wide ends
  // the run.
  while (inner < axes.size()) {
    const std::size_t level = axes.size() - inner - 1;
    if (as_bytes(axes[level].from_step) > run + gap) break;
    // A part has its own count of its first axis; of the others it has all steps.
    run +=
        static_cast<std::uint64_t>((level == 0 ? part.count : axes[level].count) - 1) * as_bytes(axes[level].from_step);
    ++inner;
  }
  return {inner, run};
}

std::uint64_t Schedule::written_by(const Part& part) const noexcept {
  // Fits 64 bits: a part has at most the units of its entry, whose size in bytes was computed with checks.
  auto units = static_cast<std::uint64_t>(part.count);
  for (const Axis& axis : axes_of(part).subspan(1)) units *= static_cast<std::uint64_t>(axis.count);
  return units * conversion(part).to_bytes();
}

std::uint64_t written_by(const Schedule& schedule, const Chunk& chunk) noexcept {
  std::uint64_t bytes = 0;
  for (const Part& part : schedule.parts_of(chunk)) bytes += schedule.written_by(part);
  return bytes;
}

std::vector<Range> needed_ranges(const Schedule& schedule, const Chunk& chunk, std::uint64_t gap) {
  std::vector<Range> ranges;
  for (const Part& part : schedule.parts_of(chunk)) {
    // The outer axes step further than `gap`: the ranges of a part are at most as many as gaps fit in the chunk.
    const auto [inner, run] = inner_run(schedule, part, gap);
    const std::span<const Axis> axes = schedule.axes_of(part);
    add_ranges(ranges, axes.first(axes.size() - inner), part.count, part.from, run);
  }
  merge_ranges(ranges, gap);
  return ranges;
}

std::uint64_t needed_bytes(const Schedule& schedule, const Chunk& chunk) {
  if (chunk.repeats) return 0;
  if (!chunk.sparse) return chunk.range.size();
  // Parts may need the same bytes, which are read once: the merged ranges are added, not the parts.
  const std::vector<Range> ranges = needed_ranges(schedule, chunk, ChunkSizes{}.gap);
  const auto add = [](std::uint64_t sum, const Range& range) { return sum + range.size(); };
  return std::accumulate(ranges.begin(), ranges.end(), std::uint64_t{0}, add);
}

}  // namespace heft::engine
