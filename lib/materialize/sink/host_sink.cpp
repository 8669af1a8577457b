#include "materialize/sink/host_sink.hpp"

#include <algorithm>
#include <numeric>

#include "materialize/sink/strided_copy.hpp"

namespace heft::engine {
namespace {

// Plain parts lie in the destination as in the source, and do not overlap.
void land_plain(Load& load, const Chunk& chunk, Range range, const std::byte* bytes) {
  const std::span<const Part> parts = std::span(load.layout().parts).subspan(chunk.first, chunk.last - chunk.first);
  auto part = std::partition_point(parts.begin(), parts.end(), [&](const Part& p) { return p.from_end <= range.begin; });
  Landed landed(load);
  for (; part != parts.end() && part->from < range.end; ++part) {
    const std::uint64_t begin = std::max(part->from, range.begin);
    const std::uint64_t end = std::min(part->from_end, range.end);
    const Target target = load.target(*part);
    kernels::copy_run(bytes + (begin - range.begin), target.base + part->to + (begin - part->from), end - begin, target.store);
    landed.add(end - begin);
  }
  landed.report();
}

void land_staged(Load& load, const Chunk& chunk, Range range, const std::byte* bytes) {
  const Layout& layout = load.layout();
  Landed landed(load);
  for (std::uint32_t i = chunk.first; i < chunk.last; ++i) {
    const Part& part = layout.parts[i];
    const Target target = load.target(part);
    fill_part(layout.conversion(part), layout.axes_of(part), part.count, bytes + (part.from - range.begin), target.base + part.to, target.store);
    landed.add(layout.written_by(part));
  }
  landed.report();
}

}  // namespace

std::uint64_t needed_bytes(const Layout& layout, const Chunk& chunk) {
  if (chunk.again) return 0;
  if (!chunk.sparse) return chunk.range.size();
  const std::vector<Range> ranges = needed_ranges(layout, chunk, Grain{}.gap);
  return std::accumulate(ranges.begin(), ranges.end(), std::uint64_t{0}, [](std::uint64_t sum, const Range& range) { return sum + range.size(); });
}

void land(Load& load, const Chunk& chunk, Range range, const std::byte* bytes) {
  if (chunk.plain) land_plain(load, chunk, range, bytes);
  else land_staged(load, chunk, range, bytes);
}

}  // namespace heft::engine
