#include "materialize/landing.hpp"

#include <algorithm>
#include <numeric>

#include "materialize/fill.hpp"

namespace heft::engine {
namespace {

// Plain parts lie in the destination as in the source, and do not overlap.
std::uint64_t land_plain(const Load& load, const Chunk& chunk, Range range, const std::byte* bytes) {
  const std::span<const Part> parts = std::span(load.layout().parts).subspan(chunk.first, chunk.last - chunk.first);
  auto part = std::partition_point(parts.begin(), parts.end(), [&](const Part& p) { return p.from_end <= range.begin; });
  std::uint64_t written = 0;
  for (; part != parts.end() && part->from < range.end; ++part) {
    const std::uint64_t begin = std::max(part->from, range.begin);
    const std::uint64_t end = std::min(part->from_end, range.end);
    const Target target = load.target(*part);
    copy_run(bytes + (begin - range.begin), target.base + part->to + (begin - part->from), end - begin, target.store);
    written += end - begin;
  }
  return written;
}

std::uint64_t land_staged(const Load& load, const Chunk& chunk, Range range, const std::byte* bytes) {
  const Layout& layout = load.layout();
  for (std::uint32_t i = chunk.first; i < chunk.last; ++i) {
    const Part& part = layout.parts[i];
    const Target target = load.target(part);
    fill_part(layout.conversion(part), layout.axes_of(part), part.count, bytes + (part.from - range.begin), target.base + part.to, target.store);
  }
  return layout.written_by(chunk);
}

}  // namespace

std::uint64_t needed_bytes(const Layout& layout, const Chunk& chunk) {
  if (!chunk.sparse) return chunk.range.size();
  const std::vector<Range> ranges = needed_ranges(layout, chunk, Grain{}.gap);
  return std::accumulate(ranges.begin(), ranges.end(), std::uint64_t{0}, [](std::uint64_t sum, const Range& range) { return sum + range.size(); });
}

void land(Load& load, const Chunk& chunk, Range range, const std::byte* bytes) {
  load.advance(chunk.plain ? land_plain(load, chunk, range, bytes) : land_staged(load, chunk, range, bytes));
}

}  // namespace heft::engine
