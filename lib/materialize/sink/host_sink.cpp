#include "materialize/sink/host_sink.hpp"

#include <algorithm>
#include <span>

#include "materialize/sink/strided_copy.hpp"

namespace heft::engine {

void HostMemory::copy(const Part& part, std::int64_t to, const std::byte* from, std::uint64_t size,
                      WriteProgress& progress) {
  const EntryMemory& memory = of(part);
  // Streaming stores are fenced when the progress is reported: see LoadMonitor::advance().
  kernels::copy_run(from, memory.base + to, size, memory.store);
  progress.add(size);
}

void HostMemory::convert(const Part& part, const std::byte* from) {
  const EntryMemory& memory = of(part);
  copy_part(schedule_.conversion(part), schedule_.axes_of(part), part.count, from, memory.base + part.to, memory.store);
}

InPlaceRun HostMemory::in_place_run(const Chunk& chunk, std::uint64_t at) const {
  const std::span<const Part> parts = schedule_.parts_of(chunk);
  auto part = std::partition_point(parts.begin(), parts.end(), [&](const Part& p) { return p.from_end <= at; });
  // There is such a part, as `at` is before the chunk's end; it begins later if `at` lies in a gap.
  if (part->from > at) return {};
  std::byte* const base = of(*part).base;
  InPlaceRun run{.to = base == nullptr ? nullptr : base + part->to + (at - part->from), .size = part->from_end - at};
  // Tensors that follow each other in the file mostly do in memory too: one read then fills several.
  for (++part; run.to != nullptr && part != parts.end() && part->from == at + run.size; ++part) {
    std::byte* const next = of(*part).base;
    if (next == nullptr || next + part->to != run.to + run.size) break;
    run.size += part->from_end - part->from;
  }
  return run;
}

}  // namespace heft::engine
