// materialize/sink/device_sink.hpp: chunks on their way to a destination whose memory the workers cannot write to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "heft/destination.hpp"
#include "materialize/memory/staging_pool.hpp"
#include "materialize/sink/device_writer.hpp"
#include "materialize/sink/host_sink.hpp"

namespace heft::engine {

/// Writes chunks into staging buffers, and these through Allocation::write_async(). Entries with a buffer of the
/// caller's are host memory as ever.
class DeviceSink final : public ChunkSink {
 public:
  /// The place of an entry on a device.
  struct Entry {
    Placement place;
    std::uint64_t size_bytes = 0;
  };
  /// The objects through which chunks reach a device. The references outlive the sink, and the last report.
  struct Device {
    Allocation& allocation;
    Destination::Requirements requirements;
    std::vector<Entry> entries;  ///< Of the plan; those with the caller's buffer are not used.
    StagingPool& staging;
  };

  /// `entries` has the memory of those with the caller's buffer. The schedule and the monitor outlive this, and the
  /// last report.
  DeviceSink(const Schedule& schedule, LoadMonitor& monitor, std::vector<EntryMemory> entries, Device device) noexcept
      : schedule_(schedule),
        monitor_(monitor),
        host_(schedule, std::move(entries)),
        device_(std::move(device)),
        writer_({device_.allocation, monitor, device_.staging, device_.requirements.max_write_bytes}) {}

  /// Waits while all buffers are on loan.
  void write(const Chunk& chunk, Range range, const std::byte* bytes) override;
  [[nodiscard]] InPlaceRun in_place_run(const Chunk& chunk, std::uint64_t at) const override {
    return host_.in_place_run(chunk, at);
  }
  [[nodiscard]] Store store_of(const Part& part) const noexcept override { return host_.of(part).store; }
  [[nodiscard]] StagingPool* staging() noexcept override { return &device_.staging; }
  void forward(const Chunk& chunk, Range range, const std::byte* bytes, const StagingBuffer& buffer) override;
  [[nodiscard]] std::optional<EntryByte> byte_at(const Placement& place) const override;

 private:
  class WriteCoalescer;
  class DeviceMemory;
  // A byte of an entry on the device.
  struct Target {
    Placement place;
    std::uint64_t offset = 0;  // in the entry
    std::uint64_t left = 0;    // bytes from it to the entry's end

    void advance(std::uint64_t bytes) noexcept { place.byte_offset += bytes, offset += bytes, left -= bytes; }
  };
  // Byte `to` of the part's entry.
  [[nodiscard]] Target target_of(const Part& part, std::uint64_t to) const noexcept {
    const Entry& entry = device_.entries[position(schedule_.transfer(part).entry)];
    Target target{.place = entry.place, .left = entry.size_bytes};
    target.advance(to);
    return target;
  }

  const Schedule& schedule_;
  LoadMonitor& monitor_;
  HostMemory host_;
  const Device device_;
  const DeviceWriter writer_;
};

}  // namespace heft::engine
