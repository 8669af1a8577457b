// materialize/io/direct_reader.hpp: direct reads, many in flight: straight to where bytes belong, where alignment allows, else
// through a ring of memory.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "heft/error.hpp"
#include "materialize/memory/arena.hpp"
#include "materialize/pipeline.hpp"
#include "mmap/direct.hpp"

namespace heft::engine {

/// One worker's direct reads. Chunks are fed in, their ranges are read while earlier ones are landed, and leave in
/// the order in which they came.
class DirectPump {
 public:
  /// `share` is the worker's, and outlives the pump.
  DirectPump(Load& load, LoadStats& share);
  ~DirectPump();
  DirectPump(const DirectPump&) = delete;
  DirectPump& operator=(const DirectPump&) = delete;

  /// Chunks that were fed, and the bytes that they need.
  struct Fed {
    std::size_t chunks = 0;
    std::uint64_t bytes = 0;
  };

  /// Reads the first of `chunks`, neighbours in `file`, and as many of the others as go into the same requests. Lands
  /// earlier chunks when the ring is full, or when too many files are open for them. Throws what reading and landing throw,
  /// with the path and the tensor of the chunk that failed.
  Fed feed(std::span<const Chunk> chunks, const std::shared_ptr<const mmap::DirectFile>& file);
  /// Sends what was fed, without waiting: before a pause in which the worker does other things.
  void flush();
  /// Lands everything that was fed.
  void drain();

 private:
  // Bytes under way: what is being read, and where to.
  struct Flight {
    std::span<const Chunk> chunks;  // one, or several that are converted or gathered, which land one after the other
    Range range;                    // of the source: what lands
    Range aligned;                  // of the source: what `memory` has room for
    std::uint64_t needed = 0;       // bytes that land, of those that are read
    std::byte* memory = nullptr;
    bool straight = false;       // `memory` is where the bytes belong
    Slots::Slot slot = {};       // holds `memory`, on its way to far memory
    std::uint64_t ring_end = 0;  // in the ring, when `memory` is a piece of it; else 0
    unsigned outstanding = 0;    // requests not finished
  };

  [[nodiscard]] Range straight_part(std::uint64_t at, const Run& run) const;
  void feed_plain(const Chunk& chunk);
  void feed_straight(const Chunk& chunk, Range range, std::byte* to);
  void feed_aligned(const Chunk& chunk, Range range);
  void send(Flight flight, const std::vector<Range>& requests);
  void place(Flight& flight);
  void await_room(std::size_t requests);
  void land_oldest();
  void land(const Flight& flight);
  void await_request();
  void await_descriptors(SourceIndex source);
  [[nodiscard]] std::vector<Range> requests_for(const Chunk& chunk) const;
  bool join(std::vector<Range>& requests, const Chunk& chunk) const;
  [[nodiscard]] Error about(const Error& error, const Flight& flight, std::uint64_t at) const;

  Load& load_;
  LoadStats& share_;
  const std::uint64_t slice_bytes_;
  std::shared_ptr<Arena> ring_;
  std::shared_ptr<const mmap::DirectFile> file_;  // of what is being fed
  std::unique_ptr<mmap::DirectQueue> queue_;
  std::deque<Flight> flights_;     // oldest first
  std::uint64_t first_token_ = 0;  // of flights_.front()
  // Bytes of the ring count on and on: byte n lies at n % size. Between tail and head they are in use, what a wrap
  // left out included.
  std::uint64_t head_ = 0;
  std::uint64_t tail_ = 0;
  std::size_t slots_held_ = 0;  // by flights
};

}  // namespace heft::engine
