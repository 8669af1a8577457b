#include "materialize/sink/chunk_writer.hpp"

namespace heft::engine {

std::uint64_t written_by(const Schedule& schedule, const Chunk& chunk, Range range) noexcept {
  // A converted chunk comes whole: see ChunkSink::write().
  if (!chunk.contiguous) return written_by(schedule, chunk);
  std::uint64_t bytes = 0;
  for_each_piece(schedule, chunk, range, [&](const Piece& piece) { bytes += piece.range.size(); });
  return bytes;
}

void write_chunk(const Schedule& schedule, LoadMonitor& monitor, const Chunk& chunk, Range range,
                 const std::byte* bytes, MemoryTarget& target) {
  WriteProgress progress(monitor);
  if (chunk.contiguous) {
    for_each_piece(schedule, chunk, range, [&](const Piece& piece) {
      // Copies report their own progress, since a part may be megabytes and a device takes it in pieces.
      target.copy(piece.part, piece.to(), bytes + (piece.range.begin - range.begin), piece.range.size(), progress);
    });
  } else {
    for (const Part& part : schedule.parts_of(chunk)) {
      // One call for the whole part. ChunkSizes bounds the bytes that a part writes, and so the time until a stop
      // request is seen.
      target.convert(part, bytes + (part.from - range.begin));
      progress.add(schedule.written_by(part));
    }
  }
  progress.report();
}

}  // namespace heft::engine
