// materialize/sink/stream_sink.hpp: chunks on their way to groups of tensors, which are handed out one by one.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "heft/plan.hpp"
#include "materialize/memory/arena_pool.hpp"
#include "materialize/sink/group_receiver.hpp"
#include "materialize/sink/host_sink.hpp"
#include "materialize/stream_groups.hpp"

namespace heft::engine {

/// Gives each group of tensors its memory before its first chunk is fetched, counts its bytes, and hands its tensors to
/// the receiver when all have been written and their files are as they were when they were opened.
class StreamSink final : public ChunkSink {
 public:
  /// The objects that the sink uses. All outlive it.
  struct Setup {
    const LoadPlan& plan;
    const Schedule& schedule;  ///< Compiled in the order of `groups`.
    const StreamGroups& groups;
    LoadMonitor& monitor;
    GroupReceiver& receiver;
    ArenaPool& arenas;
    std::uint64_t alignment = 64;       ///< Of tensors.
    std::uint64_t checked_bytes = ~0u;  ///< Groups that are larger are compared with the memory that is left.
  };
  /// Hands out the groups that nothing is read for.
  explicit StreamSink(const Setup& setup);

  bool enter(const Chunk& chunk) override;
  bool await_room(const Chunk& chunk) override { return setup_.receiver.await_room(chunk.group); }
  void write(const Chunk& chunk, Range range, const std::byte* bytes) override;
  void filled(const Chunk& chunk, std::uint64_t bytes) override;
  void proved(const Chunk& chunk) override;
  void close() noexcept override { setup_.receiver.stop(); }
  [[nodiscard]] InPlaceRun in_place_run(const Chunk& chunk, std::uint64_t at) const override {
    return memory_.in_place_run(chunk, at);
  }
  /// Does not depend on the memory, which the entry need not have yet.
  [[nodiscard]] Store store_of(const Part& part) const noexcept override {
    const std::size_t entry = position(setup_.schedule.transfer(part).entry);
    return store_for(setup_.groups.groups[setup_.groups.group_of[entry]].size_bytes);
  }
  [[nodiscard]] StagingPool* staging() noexcept override { return nullptr; }
  void forward(const Chunk& chunk, Range range, const std::byte* bytes, const StagingBuffer&) override {
    write(chunk, range, bytes);
  }

 private:
  // A group on its way to the receiver.
  struct Filling {
    std::atomic<std::uint64_t> outstanding = 0;  // bytes that are not written, and sources that are not proved
    ChunkIndex first = {};                       // chunk
    ChunkIndex last = {};                        // past the last one
    std::atomic<bool> has_memory = false;
    std::shared_ptr<Arena> arena;
  };

  void allocate(std::size_t number);
  void count_down(std::size_t group, std::uint64_t written);
  void hand_out(std::size_t number);

  const Setup setup_;
  HostMemory memory_;
  std::vector<Filling> filling_;
  std::mutex mutex_;  // while a group gets its memory
};

}  // namespace heft::engine
