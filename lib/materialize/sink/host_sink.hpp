// materialize/sink/host_sink.hpp: chunks on their way to host memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "materialize/sink/chunk_sink.hpp"
#include "materialize/sink/chunk_writer.hpp"

namespace heft::engine {

/// Returns how `size_bytes` of results are written: those that fit the last-level cache may stay in it.
[[nodiscard]] constexpr Store store_for(std::uint64_t size_bytes) noexcept {
  constexpr std::uint64_t larger_than_caches = 16u << 20;
  return size_bytes > larger_than_caches ? Store::streaming : Store::cached;
}

/// Host memory of one entry, and how it is written.
struct EntryMemory {
  std::byte* base = nullptr;  ///< Null: the entry is in device memory.
  Store store = Store::cached;
};

/// The host memory of a plan's entries. All members may be called from several threads, except that an entry is placed
/// before it is used.
class HostMemory final : public MemoryTarget {
 public:
  /// `entries` has one for each entry of the plan. The schedule outlives this.
  HostMemory(const Schedule& schedule, std::vector<EntryMemory> entries) noexcept
      : schedule_(schedule), entries_(std::move(entries)) {}

  /// Changes where an entry is.
  void place(EntryIndex entry, EntryMemory memory) noexcept { entries_[position(entry)] = memory; }

  void copy(const Part& part, std::int64_t to, const std::byte* from, std::uint64_t size,
            WriteProgress& progress) override;
  void convert(const Part& part, const std::byte* from) override;

  /// See ChunkSink.
  [[nodiscard]] InPlaceRun in_place_run(const Chunk& chunk, std::uint64_t at) const;
  /// Where the part's entry is.
  [[nodiscard]] const EntryMemory& of(const Part& part) const noexcept {
    return entries_[position(schedule_.transfer(part).entry)];
  }

 private:
  const Schedule& schedule_;
  std::vector<EntryMemory> entries_;
};

/// Writes chunks to memory that the workers can write to.
class HostSink final : public ChunkSink {
 public:
  /// The schedule and the monitor outlive this.
  HostSink(const Schedule& schedule, LoadMonitor& monitor, std::vector<EntryMemory> entries) noexcept
      : schedule_(schedule), monitor_(monitor), memory_(schedule, std::move(entries)) {}

  void write(const Chunk& chunk, Range range, const std::byte* bytes) override {
    write_chunk(schedule_, monitor_, chunk, range, bytes, memory_);
  }
  [[nodiscard]] InPlaceRun in_place_run(const Chunk& chunk, std::uint64_t at) const override {
    return memory_.in_place_run(chunk, at);
  }
  [[nodiscard]] Store store_of(const Part& part) const noexcept override { return memory_.of(part).store; }
  [[nodiscard]] StagingPool* staging() noexcept override { return nullptr; }
  void forward(const Chunk& chunk, Range range, const std::byte* bytes, const StagingBuffer&) override {
    write(chunk, range, bytes);
  }

 private:
  const Schedule& schedule_;
  LoadMonitor& monitor_;
  HostMemory memory_;
};

}  // namespace heft::engine
