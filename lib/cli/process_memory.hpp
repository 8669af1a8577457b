// cli/process_memory.hpp: how much memory this process takes at most while something runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace heft::cli {

/// Bytes. 0 where the system does not say (no /proc).
struct PeakMemory {
  std::uint64_t resident = 0;   ///< VmHWM: the kernel's own maximum over the whole life of the process.
  std::uint64_t anonymous = 0;  ///< Largest RssAnon seen: memory that no file backs.
};

/// Looks at the process 200 times a second on a thread of its own, from its making until stop().
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
