// bench/harness/probe.hpp: the kernel's counters of a process: memory, page faults, bytes read from the device.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace bench {

/// Resident bytes of a process, from /proc/PID/status.
struct Memory {
  std::uint64_t resident = 0;
  std::uint64_t anonymous = 0;
  std::uint64_t file = 0;  ///< Mapped file pages and shared memory.

  Memory& raise_to(const Memory& other) noexcept;  ///< Sets each member to the larger of both.
};

/// Counters that only grow; subtract two readings for the events between them.
struct Counters {
  std::uint64_t processor_nanoseconds = 0;  ///< Of all threads, user and system.
  std::uint64_t minor_faults = 0;
  std::uint64_t major_faults = 0;
  /// Bytes that the process caused to be fetched from storage (/proc/PID/io: read_bytes).
  std::uint64_t process_read = 0;
  /// Bytes that the device delivered to all processes; 0 if the file system has no block device.
  std::uint64_t device_read = 0;

  Counters operator-(const Counters& before) const noexcept;
};

Memory memory_of(pid_t process);
/// Resets VmHWM, so that it is the peak from now on.
void reset_peak(pid_t process);
std::uint64_t peak_resident_of(pid_t process);

/// The block device under a file.
class Device {
 public:
  explicit Device(const std::filesystem::path& file);
  [[nodiscard]] std::uint64_t bytes_read() const;

 private:
  std::string stat_path_;
};

Counters counters_of(pid_t process, const Device& device);

/// Returns one line that describes the machine: processor, threads, memory, kernel, huge pages.
std::string machine();

}  // namespace bench
