// materialize/pump.hpp: direct reads, many in flight, through a ring of memory.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "materialize/arena.hpp"
#include "materialize/load.hpp"
#include "mmap/direct.hpp"

namespace heft::engine {

/// One worker's direct reads. Chunks are fed in, their ranges are read into the ring while earlier ones are landed, and leave in the order in
/// which they came.
class DirectPump {
 public:
  /// `share` is the worker's, and outlives the pump.
  DirectPump(Load& load, LoadStats& share);
  ~DirectPump();
  DirectPump(const DirectPump&) = delete;
  DirectPump& operator=(const DirectPump&) = delete;

  /// Reads the chunk, whose file has direct access. Lands earlier chunks when the ring is full. Throws what reading throws.
  void feed(const Chunk& chunk);
  /// Sends what was fed, without waiting: before a pause in which the worker does other things.
  void flush();
  /// Lands everything that was fed.
  void drain();

 private:
  // Bytes under way: what is being read, and where it lies in the ring.
  struct Flight {
    const Chunk* chunk = nullptr;
    Range range;               // of the source: what lands
    Range aligned;             // of the source: what the ring holds room for
    std::uint64_t at = 0;      // in the ring
    unsigned outstanding = 0;  // requests not finished
  };

  void send(const Chunk& chunk, Range range, const std::vector<Range>& requests);
  std::uint64_t make_room(std::uint64_t size, std::size_t requests);
  void land_oldest();
  void await_request();
  [[nodiscard]] std::vector<Range> aligned_requests(const Chunk& chunk, Range range) const;

  Load& load_;
  LoadStats& share_;
  std::shared_ptr<Arena> memory_;
  std::vector<std::size_t> numbers_;  // of each source in the queue's list of files
  std::unique_ptr<mmap::DirectQueue> queue_;
  std::deque<Flight> flights_;        // oldest first
  std::uint64_t first_token_ = 0;     // of flights_.front()
  std::uint64_t head_ = 0;            // where the ring's next bytes go
  std::uint64_t used_ = 0;            // bytes of the ring between the oldest flight's begin and head_, what a wrap left unused included
};

}  // namespace heft::engine
