#include "materialize/sink/host_sink.hpp"

#include <algorithm>

#include "materialize/sink/strided_copy.hpp"

namespace heft::engine {
namespace {

// Plain parts lie in the destination as in the source, and do not overlap.
void land_plain(Load& load, const Chunk& chunk, Range range, const std::byte* bytes) {
  const std::span<const Part> parts = load.schedule().parts_of(chunk);
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
  const Schedule& schedule = load.schedule();
  Landed landed(load);
  for (const Part& part : schedule.parts_of(chunk)) {
    const Target target = load.target(part);
    fill_part(schedule.conversion(part), schedule.axes_of(part), part.count, bytes + (part.from - range.begin), target.base + part.to, target.store);
    landed.add(schedule.written_by(part));
  }
  landed.report();
}

}  // namespace

void land(Load& load, const Chunk& chunk, Range range, const std::byte* bytes) {
  if (chunk.contiguous) land_plain(load, chunk, range, bytes);
  else land_staged(load, chunk, range, bytes);
}

}  // namespace heft::engine
