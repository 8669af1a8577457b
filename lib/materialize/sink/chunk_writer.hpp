// materialize/sink/chunk_writer.hpp: the two ways to write a chunk, contiguous and converted, into any kind of memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "materialize/load_monitor.hpp"
#include "materialize/schedule.hpp"

namespace heft::engine {

/// Memory that the parts of a chunk are written to: the host's (HostMemory), or a device's (DeviceMemory).
class MemoryTarget {
 public:
  /// Copies `size` bytes to `to` of the part's entry, and counts them in `progress`.
  virtual void copy(const Part& part, std::int64_t to, const std::byte* from, std::uint64_t size,
                    WriteProgress& progress) = 0;
  /// Converts the whole part, the first byte of which is at `from`.
  virtual void convert(const Part& part, const std::byte* from) = 0;

 protected:
  MemoryTarget() = default;
  MemoryTarget(const MemoryTarget&) = default;
  MemoryTarget& operator=(const MemoryTarget&) = default;
  ~MemoryTarget() = default;
};

/// The piece of a contiguous part that lies in a range of the source.
struct Piece {
  const Part& part;
  Range range;
  /// Where it goes in the entry's memory.
  [[nodiscard]] std::int64_t to() const noexcept {
    return part.to + static_cast<std::int64_t>(range.begin - part.from);
  }
};

/// Calls `visit` with each piece of a contiguous chunk that lies in `range`. Its parts do not overlap.
template <class Visit>
void for_each_piece(const Schedule& schedule, const Chunk& chunk, Range range, const Visit& visit) {
  const std::span<const Part> parts = schedule.parts_of(chunk);
  auto part =
      std::partition_point(parts.begin(), parts.end(), [&](const Part& p) { return p.from_end <= range.begin; });
  for (; part != parts.end() && part->from < range.end; ++part)
    visit(Piece{*part, {std::max(part->from, range.begin), std::min(part->from_end, range.end)}});
}

/// Returns the bytes that the parts of a chunk write of `range` of its source, which is a part of a contiguous chunk,
/// or all of any other.
[[nodiscard]] std::uint64_t written_by(const Schedule& schedule, const Chunk& chunk, Range range) noexcept;

/// Writes `bytes`, which are `range` of the chunk's source, to `target`: see ChunkSink::write().
void write_chunk(const Schedule& schedule, LoadMonitor& monitor, const Chunk& chunk, Range range,
                 const std::byte* bytes, MemoryTarget& target);

}  // namespace heft::engine
