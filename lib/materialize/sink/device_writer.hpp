// materialize/sink/device_writer.hpp: the writes of a load to a device, each with its staging buffer until it is
// reported.
#pragma once

#include "heft/destination.hpp"
#include "materialize/load_monitor.hpp"
#include "materialize/memory/staging_pool.hpp"

namespace heft::engine {

/// Starts writes, and fails the load with the first one that fails. All members may be called from any worker.
class DeviceWriter {
 public:
  /// All outlive this, and the last report.
  struct Setup {
    Allocation& allocation;
    LoadMonitor& monitor;
    StagingPool& staging;
    std::uint64_t max_write_bytes = 0;  ///< Requirements::max_write_bytes.
  };
  explicit DeviceWriter(const Setup& setup) noexcept : setup_(setup) {}

  /// Writes the bytes of `request`, in as many requests as its size takes. `buffer` contains them, and is released when
  /// all have been reported. Throws what Allocation::write_async() throws.
  void write(const WriteRequest& request, const StagingBuffer& buffer) const;

 private:
  void start(const WriteRequest& request, const StagingBuffer& buffer) const;
  const Setup setup_;
};

}  // namespace heft::engine
