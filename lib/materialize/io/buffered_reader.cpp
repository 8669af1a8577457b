#include "materialize/io/buffered_reader.hpp"

#include <algorithm>
#include <chrono>
#include <vector>

#include "mmap/pages.hpp"

namespace heft::engine {
namespace {

// A window this small stays in the second-level cache while it passes through the buffer.
constexpr std::uint64_t buffer_window = 128u << 10;

}  // namespace

void BufferedReader::read(const Chunk& chunk, const mmap::File& file) {
  if (chunk.contiguous)
    read_contiguous(chunk, file);
  else
    fetch_converted(chunk, file);
}

void BufferedReader::make(const Chunk& chunk, record::SourceReader& reader) {
  // Straight into their place, unless they must be converted.
  if (chunk.contiguous)
    for (const Part& part : setup_.schedule.parts_of(chunk)) make_contiguous(chunk, part, reader);
  else
    fetch_converted(chunk, reader);
}

void BufferedReader::fetch(const mmap::File& file, Range range, std::byte* into) {
  const auto begin = std::chrono::steady_clock::now();
  file.read(range.begin, {into, range.size()});
  share_.worker_fetch_seconds += seconds_since(begin);
}

void BufferedReader::fetch(record::SourceReader& reader, Range range, std::byte* into) {
  const auto begin = std::chrono::steady_clock::now();
  reader.read(range.begin, {into, range.size()});
  share_.worker_fetch_seconds += seconds_since(begin);
}

template <class From>
void BufferedReader::fetch_converted(const Chunk& chunk, From& from) {
  const std::span<std::byte> into = buffer();
  const std::vector<Range> ranges =
      chunk.sparse ? needed_ranges(setup_.schedule, chunk, ChunkSizes{}.gap) : std::vector{chunk.range};
  // The buffer has the layout of the chunk, gaps included, so that a part's offset in the chunk is its offset in the
  // buffer. Bytes in gaps are neither made nor read.
  for (const Range& range : ranges) fetch(from, range, into.data() + (range.begin - chunk.range.begin));
  write(chunk, chunk.range, into.data());
}

// Reads in place as far as parts continue each other on both sides, through the buffer where such runs are short, and
// through a staging buffer to device memory.
void BufferedReader::read_contiguous(const Chunk& chunk, const mmap::File& file) {
  for (std::uint64_t at = chunk.range.begin; at < chunk.range.end;) {
    const InPlaceRun run = setup_.sink.in_place_run(chunk, at);
    if (run.to == nullptr && setup_.sink.staging() != nullptr)
      at = read_staged(chunk, file, at);
    else if (run.size >= min_read_bytes || run.size >= chunk.range.size())
      at = read_in_place(chunk, file, at, run);
    else
      at = read_buffered(chunk, file, at);
  }
}

std::uint64_t BufferedReader::read_in_place(const Chunk& chunk, const mmap::File& file, std::uint64_t at,
                                            const InPlaceRun& run) {
  const Range range{at, std::min(chunk.range.end, at + run.size)};
  fetch(file, range, run.to);
  filled(chunk, range.size());
  return range.end;
}

std::uint64_t BufferedReader::read_buffered(const Chunk& chunk, const mmap::File& file, std::uint64_t at) {
  const std::span<std::byte> into = buffer();
  const Range range{at, std::min(chunk.range.end, at + std::min<std::uint64_t>(buffer_window, into.size()))};
  fetch(file, range, into.data());
  write(chunk, range, into.data());
  return range.end;
}

std::uint64_t BufferedReader::read_staged(const Chunk& chunk, const mmap::File& file, std::uint64_t at) {
  // The writes that forward() starts share the buffer: it returns to the pool after the report of the last of them.
  const StagingBuffer staged = setup_.sink.staging()->take();
  const Range range{at, std::min(chunk.range.end, at + setup_.sink.staging()->buffer_bytes())};
  fetch(file, range, staged.get());
  setup_.sink.forward(chunk, range, staged.get(), staged);
  return range.end;
}

void BufferedReader::make_contiguous(const Chunk& chunk, const Part& part, record::SourceReader& reader) {
  std::byte* const to = setup_.sink.in_place_run(chunk, part.from).to;
  // Entries in device memory have no address on the host: their bytes go through the worker's buffer, in pieces of its
  // size.
  if (to != nullptr) {
    fetch(reader, {part.from, part.from_end}, to);
    return filled(chunk, part.from_end - part.from);
  }
  const std::span<std::byte> into = buffer();
  for (std::uint64_t at = part.from; at < part.from_end; at += into.size()) {
    const Range range{at, std::min(part.from_end, at + into.size())};
    fetch(reader, range, into.data());
    write(chunk, range, into.data());
  }
}

void BufferedReader::filled(const Chunk& chunk, std::uint64_t bytes) {
  // Counted first: ChunkSink::filled() may hand a tensor of a stream out, and reports the progress until then.
  setup_.monitor.advance(bytes);
  setup_.sink.filled(chunk, bytes);
}

void BufferedReader::write(const Chunk& chunk, Range range, const std::byte* bytes) {
  const auto begin = std::chrono::steady_clock::now();
  setup_.sink.write(chunk, range, bytes);
  share_.worker_copy_seconds += seconds_since(begin);
}

std::span<std::byte> BufferedReader::buffer() {
  // A schedule without buffered chunks can still have gaps, which are read into this page.
  if (!setup_.buffer) setup_.buffer = Arena::allocate(mmap::page_size(), mmap::page_size());
  return setup_.buffer->span();
}

}  // namespace heft::engine
