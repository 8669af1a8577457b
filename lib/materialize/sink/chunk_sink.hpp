// materialize/sink/chunk_sink.hpp: the end of the pipeline: where fetched bytes become elements of tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "heft/destination.hpp"
#include "materialize/memory/staging_pool.hpp"
#include "materialize/schedule.hpp"

namespace heft::engine {

/// Bytes of a source on their way to bytes of host memory, unchanged and without a gap.
struct InPlaceRun {
  std::byte* to = nullptr;  ///< Null: they go to device memory, or belong nowhere.
  std::uint64_t size = 0;
};

/// A byte of a tensor to be.
struct EntryByte {
  EntryIndex entry = {};
  std::uint64_t offset = 0;  ///< In the entry's memory.
};

/// Writes the chunks of one load to their places, and reports the written bytes to the load's monitor.
///
/// Threads: all members may be called from any worker.
class ChunkSink {
 public:
  virtual ~ChunkSink() = default;

  /// Called before anything of a chunk is fetched. Returns false if there is no room for it yet: then the worker writes
  /// all that it has fetched, and calls await_room().
  virtual bool enter(const Chunk& /*chunk*/) { return true; }
  /// Waits for room for the chunk. Returns false if there will be none, since the load has failed or was stopped.
  virtual bool await_room(const Chunk& /*chunk*/) { return true; }

  /// Writes `bytes`, which are `range` of the chunk's source, to their places, and converts them. `range` may be a part
  /// of a contiguous chunk; of any other it is the whole. Throws Error{cancelled} after a stop request, and the errors
  /// of the destination.
  virtual void write(const Chunk& chunk, Range range, const std::byte* bytes) = 0;

  /// The run that begins with a contiguous chunk's byte `at`, for reading it to where it belongs; of size 0 when `at`
  /// lies in a gap.
  [[nodiscard]] virtual InPlaceRun in_place_run(const Chunk& chunk, std::uint64_t at) const = 0;

  /// Called after `bytes` of a contiguous chunk were read to where in_place_run() said.
  virtual void filled(const Chunk& /*chunk*/, std::uint64_t /*bytes*/) {}
  /// Called after the source of a chunk was proved: see ends_proof().
  virtual void proved(const Chunk& /*chunk*/) {}
  /// Ends all waiting, also for buffers of staging(): the load has failed, or was stopped.
  virtual void close() noexcept {
    if (StagingPool* const buffers = staging()) buffers->close();
  }

  /// Returns the kind of stores by which a part is written to host memory.
  [[nodiscard]] virtual Store store_of(const Part& part) const noexcept = 0;

  /// Buffers for bytes on their way to device memory; null when the destination's memory is host_writable.
  [[nodiscard]] virtual StagingPool* staging() noexcept = 0;

  /// Writes bytes of a contiguous chunk as write() does, from `buffer` of staging(), which contains them: nothing is
  /// copied on the way to the device. Requires that staging() is not null.
  virtual void forward(const Chunk& chunk, Range range, const std::byte* bytes, const StagingBuffer& buffer) = 0;

  /// Returns the byte that a write to `place` of a device begins with; in a gap between tensors, the next one's first.
  [[nodiscard]] virtual std::optional<EntryByte> byte_at(const Placement& /*place*/) const { return std::nullopt; }

 protected:
  ChunkSink() = default;
  ChunkSink(const ChunkSink&) = default;
  ChunkSink& operator=(const ChunkSink&) = default;
};

}  // namespace heft::engine
