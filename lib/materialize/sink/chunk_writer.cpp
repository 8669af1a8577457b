#include "materialize/sink/chunk_writer.hpp"

namespace heft::engine {

void write_chunk(const Schedule& schedule, LoadMonitor& monitor, const Chunk& chunk, Range range,
                 const std::byte* bytes, MemoryTarget& target) {
  WriteProgress progress(monitor);
  if (chunk.contiguous) {
    for_each_piece(schedule, chunk, range, [&](const Piece& piece) {
      target.copy(piece.part, piece.to(), bytes + (piece.range.begin - range.begin), piece.range.size(), progress);
    });
  } else {
    for (const Part& part : schedule.parts_of(chunk)) {
      target.convert(part, bytes + (part.from - range.begin));
      progress.add(schedule.written_by(part));
    }
  }
  progress.report();
}

}  // namespace heft::engine
