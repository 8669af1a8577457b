#include "harness/probe.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>

#include <fmt/format.h>

namespace bench {

namespace {

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// Returns the number after `key` at the start of a line; 0 when there is none.
std::uint64_t number_after(std::string_view text, std::string_view key) {
  for (std::size_t at = text.find(key); at != text.npos; at = text.find(key, at + 1)) {
    if (at != 0 && text[at - 1] != '\n') continue;
    std::uint64_t value = 0;
    for (const char c : text.substr(at + key.size())) {
      if (c >= '0' && c <= '9')
        value = value * 10 + static_cast<std::uint64_t>(c - '0');
      else if (c != ' ' && c != '\t')
        break;
    }
    return value;
  }
  return 0;
}

std::string proc(pid_t process, std::string_view file) { return fmt::format("/proc/{}/{}", process, file); }

// Reads a counter that is finer than the ticks of /proc/PID/stat.
std::uint64_t processor_nanoseconds_of(pid_t process) {
  clockid_t clock = 0;
  timespec time = {};
  if (::clock_getcpuclockid(process, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return 0;
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

std::string first_line_with(std::string_view text, std::string_view key) {
  const std::size_t at = text.find(key);
  if (at == text.npos) return "unknown";
  const std::string_view line = text.substr(at, text.find('\n', at) - at);
  const std::size_t colon = line.find(": ");
  return std::string(colon == line.npos ? line : line.substr(colon + 2));
}

}  // namespace

Memory& Memory::raise_to(const Memory& other) noexcept {
  resident = std::max(resident, other.resident);
  anonymous = std::max(anonymous, other.anonymous);
  file = std::max(file, other.file);
  return *this;
}

Counters Counters::operator-(const Counters& before) const noexcept {
  return {processor_nanoseconds - before.processor_nanoseconds, minor_faults - before.minor_faults,
          major_faults - before.major_faults, process_read - before.process_read, device_read - before.device_read};
}

Memory memory_of(pid_t process) {
  const std::string text = text_of(proc(process, "status"));
  const std::uint64_t file = number_after(text, "RssFile:") + number_after(text, "RssShmem:");
  return {number_after(text, "VmRSS:") * 1024, number_after(text, "RssAnon:") * 1024, file * 1024};
}

void reset_peak(pid_t process) { std::ofstream(proc(process, "clear_refs")) << "5"; }

std::uint64_t peak_resident_of(pid_t process) {
  return number_after(text_of(proc(process, "status")), "VmHWM:") * 1024;
}

Device::Device(const std::filesystem::path& file) {
  struct stat info = {};
  if (::stat(file.c_str(), &info) != 0) return;
  stat_path_ = fmt::format("/sys/dev/block/{}:{}/stat", major(info.st_dev), minor(info.st_dev));
}

std::uint64_t Device::bytes_read() const {
  std::ifstream in(stat_path_);
  std::uint64_t requests = 0, merged = 0, sectors = 0;
  in >> requests >> merged >> sectors;
  return sectors * 512;
}

Counters counters_of(pid_t process, const Device& device) {
  const std::string stat = text_of(proc(process, "stat"));
  std::istringstream fields(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
  std::string skipped;
  Counters out;
  out.processor_nanoseconds = processor_nanoseconds_of(process);
  for (int i = 0; i < 7; ++i) fields >> skipped;  // state ... flags
  fields >> out.minor_faults >> skipped >> out.major_faults;
  out.process_read = number_after(text_of(proc(process, "io")), "read_bytes:");
  out.device_read = device.bytes_read();
  return out;
}

std::string machine() {
  struct utsname kernel = {};
  ::uname(&kernel);
  std::string huge = text_of("/sys/kernel/mm/transparent_hugepage/enabled");
  std::erase(huge, '\n');
  return fmt::format("{}, {} threads, {:.1f} GB memory, {} {}, huge pages {}",
                     first_line_with(text_of("/proc/cpuinfo"), "model name"), std::thread::hardware_concurrency(),
                     static_cast<double>(number_after(text_of("/proc/meminfo"), "MemTotal:")) * 1024 / 1e9,
                     kernel.sysname, kernel.release, huge);
}

}  // namespace bench
