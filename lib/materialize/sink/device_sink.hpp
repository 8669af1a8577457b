// materialize/sink/device_sink.hpp: chunks on their way to a destination whose memory the workers cannot write to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "heft/destination.hpp"
#include "materialize/arena_layout.hpp"
#include "materialize/memory/staging_pool.hpp"
#include "materialize/sink/host_sink.hpp"

namespace heft::engine {

/// Writes chunks into staging buffers, and these through Destination::write(). Entries with a buffer of the caller's
/// are host memory as ever.
class DeviceSink final : public ChunkSink {
 public:
  /// The objects through which chunks reach a device.
  struct Device {
    Destination& destination;
    std::shared_ptr<const ArenaLayout> layout;  ///< Where the entries lie in the destination's memory.
    std::shared_ptr<StagingPool> staging;
  };

  /// `entries` has the memory of those with the caller's buffer. The schedule, the monitor and the destination outlive
  /// this.
  DeviceSink(const Schedule& schedule, LoadMonitor& monitor, std::vector<EntryMemory> entries, Device device) noexcept
      : schedule_(schedule), monitor_(monitor), host_(schedule, std::move(entries)), device_(std::move(device)) {}

  /// Waits while all buffers are on loan.
  void write(const Chunk& chunk, Range range, const std::byte* bytes) override;
  [[nodiscard]] InPlaceRun in_place_run(const Chunk& chunk, std::uint64_t at) const override {
    return host_.in_place_run(chunk, at);
  }
  [[nodiscard]] Store store_of(const Part& part) const noexcept override { return host_.of(part).store; }
  [[nodiscard]] StagingPool* staging() noexcept override { return device_.staging.get(); }
  void forward(const Chunk& chunk, Range range, const std::byte* bytes, const StagingBuffer& buffer) override;

 private:
  class WriteCoalescer;
  class DeviceMemory;
  [[nodiscard]] std::uint64_t offset_of(const Part& part, std::int64_t to) const noexcept {
    return device_.layout->offsets[position(schedule_.transfer(part).entry)] + static_cast<std::uint64_t>(to);
  }

  const Schedule& schedule_;
  LoadMonitor& monitor_;
  HostMemory host_;
  const Device device_;
};

}  // namespace heft::engine
