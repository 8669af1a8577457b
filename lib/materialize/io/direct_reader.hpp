// materialize/io/direct_reader.hpp: direct reads, many in flight: to where bytes belong, where alignment allows, else
// through a ring of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "heft/error.hpp"
#include "materialize/budget.hpp"
#include "materialize/chunk_errors.hpp"
#include "materialize/io/submitted.hpp"
#include "materialize/load_monitor.hpp"
#include "materialize/memory/arena.hpp"
#include "materialize/memory/read_ring.hpp"
#include "materialize/schedule.hpp"
#include "materialize/sink/chunk_sink.hpp"
#include "mmap/direct.hpp"

namespace heft::engine {

/// One worker's direct reads. Chunks are submitted, their ranges are read while earlier ones are written, and leave in
/// the order in which they came.
class DirectReader {
 public:
  /// The objects that a reader uses. All must outlive it.
  struct Setup {
    const Schedule& schedule;
    ChunkSink& sink;
    LoadMonitor& monitor;
    const ChunkErrors& errors;
    const Budget& budget;
  };
  /// `share` is the worker's, and outlives the reader.
  DirectReader(Setup setup, LoadStats& share);
  ~DirectReader();
  DirectReader(const DirectReader&) = delete;
  DirectReader& operator=(const DirectReader&) = delete;

  /// Reads the first of `chunks`, neighbours in `file`, and as many of the others as go into the same requests. Writes
  /// earlier chunks when the ring is full, or when too many files are open for them. Throws what reading and writing
  /// throw, with the path and the tensor of the chunk that failed.
  Submitted submit(std::span<const Chunk> chunks, const std::shared_ptr<const mmap::DirectFile>& file);
  /// Sends what was submitted, without waiting: before a pause in which the worker does other things.
  void flush();
  /// Writes everything that was submitted.
  void drain();

 private:
  // Bytes under way: what is being read, and where to.
  struct InFlightRead {
    // one, or several that are converted or gathered, which are written one after the other
    std::span<const Chunk> chunks;
    Range range;               // of the source: what is written
    Range aligned;             // of the source: what `memory` has room for
    std::uint64_t needed = 0;  // bytes that are written, of those that are read
    std::byte* memory = nullptr;
    bool in_place = false;       // `memory` is where the bytes belong
    StagingBuffer staging = {};  // holds `memory`, on its way to device memory
    std::uint64_t ring_end = 0;  // in the ring, when `memory` is a piece of it; else 0
    unsigned outstanding = 0;    // requests not finished
  };

  [[nodiscard]] Range in_place_part(std::uint64_t at, const InPlaceRun& run) const;
  void submit_contiguous(const Chunk& chunk);
  void submit_in_place(const Chunk& chunk, Range range, std::byte* to);
  void submit_aligned(const Chunk& chunk, Range range);
  void send(InFlightRead read, const std::vector<Range>& requests);
  void place(InFlightRead& read);
  void await_room(std::size_t requests);
  void write_oldest();
  void write(const InFlightRead& read);
  void await_request();
  void await_descriptors(SourceIndex source);
  [[nodiscard]] std::vector<Range> requests_for(const Chunk& chunk) const;
  bool join(std::vector<Range>& requests, const Chunk& chunk) const;
  [[nodiscard]] Error about(const Error& error, const InFlightRead& read, std::uint64_t at) const;

  const Schedule& schedule_;
  ChunkSink& sink_;
  LoadMonitor& monitor_;
  const ChunkErrors& errors_;
  LoadStats& share_;
  const std::uint64_t slice_bytes_;
  const std::size_t max_staging_buffers_;
  ReadRing ring_;  // what is read into, unless it is read to where it belongs, or to a staging buffer
  std::shared_ptr<const mmap::DirectFile> file_;  // of what is being submitted
  std::unique_ptr<mmap::DirectQueue> queue_;
  std::deque<InFlightRead> reads_;  // oldest first
  std::uint64_t first_token_ = 0;   // of reads_.front()
  std::size_t staging_held_ = 0;    // by reads_
};

}  // namespace heft::engine
