// materialize/io/async_reader.hpp: requests to sources of the caller's, many in flight: to where bytes belong, else
// through a ring of memory or through staging buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "heft/load_stats.hpp"
#include "materialize/chunk_errors.hpp"
#include "materialize/io/request_gate.hpp"
#include "materialize/io/submitted.hpp"
#include "materialize/load_monitor.hpp"
#include "materialize/memory/read_ring.hpp"
#include "materialize/schedule.hpp"
#include "materialize/sink/chunk_sink.hpp"

namespace heft::engine {

/// One worker's requests. Chunks are submitted, their ranges are fetched while earlier ones are written, and leave in
/// the order in which they came; the requests may end in any order.
class AsyncReader {
 public:
  /// The objects that a reader uses. All must outlive it.
  struct Setup {
    const Schedule& schedule;
    ChunkSink& sink;
    LoadMonitor& monitor;
    const ChunkErrors& errors;
    RequestGate& gate;
    std::uint64_t ring_bytes = 0;         ///< Of the memory for what does not go straight to where it belongs.
    std::size_t max_staging_buffers = 0;  ///< That requests in flight may hold.
  };
  /// `share` is the worker's, and outlives the reader.
  AsyncReader(const Setup& setup, LoadStats& share) : setup_(setup), share_(share) {}
  /// Waits for requests in flight, after a stop request to them: they write to memory of the load.
  ~AsyncReader();
  AsyncReader(const AsyncReader&) = delete;
  AsyncReader& operator=(const AsyncReader&) = delete;

  /// Requests the first of `chunks`, neighbours in a source of Kind::requested, and as many of the others as go into
  /// the same requests. Writes earlier chunks when memory is short. Throws the first failure, with path and tensor;
  /// Error{cancelled} after a stop request.
  Submitted submit(std::span<const Chunk> chunks);
  /// Writes everything that was submitted. Throws as submit().
  void drain();

 private:
  // Bytes under way: what is being fetched, and where to.
  struct Read {
    // one, or several that are converted or gathered, which are written one after the other
    std::span<const Chunk> chunks;
    Range range;  // of the source: what `memory` has room for
    std::byte* memory = nullptr;
    bool in_place = false;       // `memory` is where the bytes belong
    StagingBuffer staging = {};  // holds `memory`, on its way to device memory
    std::uint64_t ring_end = 0;  // in the ring, when `memory` is a piece of it; else 0
    std::size_t left = 0;        // requests that have not ended
    std::list<RequestGate::Request> requests = {};
  };

  Submitted submit_in_place(std::span<const Chunk> chunks);
  Submitted submit_converted(std::span<const Chunk> chunks);
  void submit_contiguous(const Chunk& chunk);
  void submit_staged(const Chunk& chunk, Range range);
  void send(Read read, std::span<const Range> requests);
  void place(Read& read);
  void place_in_ring(Read& read);
  void write_oldest();
  void write(const Read& read);
  void report_filled(const Read& read);
  [[nodiscard]] std::byte* whole_in_place(const Chunk& chunk) const;
  [[nodiscard]] const record::RequestLimits& limits(const Chunk& chunk) const noexcept {
    return setup_.schedule.source(chunk.source).request_limits();
  }
  [[nodiscard]] std::vector<Range> requests_for(const Chunk& chunk) const;
  [[noreturn]] void fail() const;
  [[nodiscard]] Error about(const Error& error, const RequestGate::Request& request) const;

  const Setup setup_;
  LoadStats& share_;
  RequestGate::Requests requests_;
  std::optional<ReadRing> ring_;  // allocated when it is first needed
  std::deque<Read> reads_;        // oldest first
  std::size_t staging_held_ = 0;  // by reads_
};

}  // namespace heft::engine
