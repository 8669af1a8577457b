// materialize/io/buffered_reader.hpp: reads one after the other, of files and of sources that make their bytes: to where
// the bytes belong, else through a buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "heft/load_stats.hpp"
#include "materialize/load_monitor.hpp"
#include "materialize/memory/arena.hpp"
#include "materialize/schedule.hpp"
#include "materialize/sink/chunk_sink.hpp"
#include "mmap/file.hpp"
#include "record/source.hpp"

namespace heft::engine {

/// One worker's reads. When a call returns, the sink has the whole chunk.
class BufferedReader {
 public:
  /// The objects that a reader uses. Those that it refers to must outlive it.
  struct Setup {
    const Schedule& schedule;
    ChunkSink& sink;
    LoadMonitor& monitor;
    std::shared_ptr<Arena> buffer;  ///< Null where the schedule has no chunk that is converted or gathered.
  };
  /// `share` is the worker's, and outlives the reader.
  BufferedReader(Setup setup, LoadStats& share) : setup_(std::move(setup)), share_(share) {}
  BufferedReader(const BufferedReader&) = delete;
  BufferedReader& operator=(const BufferedReader&) = delete;

  /// Reads a chunk of a file, and writes it. Throws the errors of reading and of writing.
  void read(const Chunk& chunk, const mmap::File& file);
  /// Has `reader` make the bytes of a chunk: inflated, or gathered from numbers. Throws as read().
  void make(const Chunk& chunk, record::SourceReader& reader);

 private:
  void fetch(const mmap::File& file, Range range, std::byte* into);
  void fetch(record::SourceReader& reader, Range range, std::byte* into);
  // From is one of the two above.
  template <class From>
  void fetch_converted(const Chunk& chunk, From& from);
  void read_contiguous(const Chunk& chunk, const mmap::File& file);
  std::uint64_t read_in_place(const Chunk& chunk, const mmap::File& file, std::uint64_t at, const InPlaceRun& run);
  std::uint64_t read_buffered(const Chunk& chunk, const mmap::File& file, std::uint64_t at);
  std::uint64_t read_staged(const Chunk& chunk, const mmap::File& file, std::uint64_t at);
  void make_contiguous(const Chunk& chunk, const Part& part, record::SourceReader& reader);

  void filled(const Chunk& chunk, std::uint64_t bytes);
  void write(const Chunk& chunk, Range range, const std::byte* bytes);
  [[nodiscard]] std::span<std::byte> buffer();

  Setup setup_;
  LoadStats& share_;
};

}  // namespace heft::engine
