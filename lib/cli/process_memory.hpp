// cli/process_memory.hpp: measures the peak memory of this process.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace heft::cli {

/// In bytes; 0 if the system does not report it (no /proc).
struct PeakMemory {
  std::uint64_t resident = 0;   ///< VmHWM: the kernel's maximum since the start of the process.
  std::uint64_t anonymous = 0;  ///< Largest sampled RssAnon: memory without a file.
};

/// Samples the process 200 times a second on a separate thread, from construction until stop().
class PeakMemorySampler {
 public:
  PeakMemorySampler();
  PeakMemory stop();

 private:
  void sample() noexcept;
  std::atomic<std::uint64_t> anonymous_ = 0;
  std::jthread thread_;
};

}  // namespace heft::cli
