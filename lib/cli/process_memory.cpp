#include "cli/process_memory.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

namespace heft::cli {
namespace {

// Returns the value of a line of /proc/self/status: "RssAnon:     1234 kB".
std::uint64_t status_bytes(std::string_view key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    // /proc/self/status has kilobytes of 1024; strtoull() skips the white space in front of the number.
    if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10) * 1024;
  return 0;
}

}  // namespace

PeakMemorySampler::PeakMemorySampler() {
  sample();
  try {
    thread_ = std::jthread([this](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        // The kernel keeps no maximum of anonymous memory, so it is sampled. A peak of less than 5 ms can be missed.
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        sample();
      }
    });
  } catch (const std::system_error&) {
    // No thread can be started: only the start and the end are sampled.
  }
}

PeakMemory PeakMemorySampler::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
  sample();
  return {.resident = status_bytes("VmHWM"), .anonymous = anonymous_.load()};
}

void PeakMemorySampler::sample() noexcept {
  try {
    anonymous_.store(std::max(anonymous_.load(), status_bytes("RssAnon")));
  } catch (...) {
    // A failed sample is skipped.
  }
}

}  // namespace heft::cli
