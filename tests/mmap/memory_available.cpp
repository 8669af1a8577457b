// The memory that a process can still take, from texts of /proc and cgroups.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "mmap/memory_available.hpp"
#include "support/temp_folder.hpp"

using namespace heft;

namespace {

// The files of a machine below a temporary folder.
class Machine {
 public:
  Machine() { file("proc/meminfo", "MemTotal:       8000000 kB\nMemFree:  10 kB\nMemAvailable:    4000000 kB\n"); }

  Machine& file(const std::string& path, const std::string& text) {
    const std::filesystem::path whole = folder_.path() / path;
    std::filesystem::create_directories(whole.parent_path());
    folder_.write(path, text);
    return *this;
  }
  [[nodiscard]] mmap::MemoryAvailable available() const { return mmap::memory_available(folder_.path().string()); }

 private:
  test::TempFolder folder_;
};

constexpr std::uint64_t mib = 1u << 20;

std::string bytes(std::uint64_t count) { return std::to_string(count) + "\n"; }

}  // namespace

TEST_CASE("memory: without a cgroup the machine's MemAvailable is available") {
  const mmap::MemoryAvailable found = Machine().available();
  CHECK(found.bytes == 4'000'000ull * 1024);
  CHECK(found.limited_by == "MemAvailable of /proc/meminfo");
}

TEST_CASE("memory: if no file can be read, the result is unknown") {
  const test::TempFolder empty;
  CHECK(mmap::memory_available(empty.path().string()).bytes == mmap::MemoryAvailable::unknown);
}

TEST_CASE("memory: a cgroup of version 2 leaves its limit less its usage without file cache") {
  const mmap::MemoryAvailable found =
      Machine()
          .file("proc/self/cgroup", "0::/a/b\n")
          .file("proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
          .file("sys/fs/cgroup/a/b/memory.max", bytes(100 * mib))
          .file("sys/fs/cgroup/a/b/memory.current", bytes(70 * mib))
          .file("sys/fs/cgroup/a/b/memory.stat",
                "anon 1\ninactive_file " + bytes(20 * mib) + "active_file " + bytes(10 * mib))
          .available();
  CHECK(found.bytes == 60 * mib);
  CHECK(found.limited_by.find("cgroup /sys/fs/cgroup/a/b: limit 104857600, in use 41943040") == 0);
}

TEST_CASE("memory: an ancestor that leaves less than the cgroup itself decides") {
  Machine machine;
  machine.file("proc/self/cgroup", "0::/a/b\n")
      .file("proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
      .file("sys/fs/cgroup/a/b/memory.max", "max\n")
      .file("sys/fs/cgroup/a/memory.max", bytes(50 * mib))
      .file("sys/fs/cgroup/a/memory.current", bytes(45 * mib))
      .file("sys/fs/cgroup/a/memory.stat", "inactive_file 0\nactive_file 0\n");
  CHECK(machine.available().bytes == 5 * mib);
  // Usage is over the limit: 0 bytes are left, and the difference does not wrap.
  machine.file("sys/fs/cgroup/a/memory.current", bytes(60 * mib));
  CHECK(machine.available().bytes == 0);
}

TEST_CASE("memory: the mount of a cgroup is found after thousands of others") {
  std::string mounts;
  for (int i = 0; i < 5000; ++i)
    mounts += "1" + std::to_string(i) + " 31 0:99 / /var/lib/containers/storage/overlay/" + std::string(64, 'a') +
              " rw - overlay overlay rw\n";
  const mmap::MemoryAvailable found =
      Machine()
          .file("proc/self/cgroup", "0::/a\n")
          .file("proc/self/mountinfo", mounts + "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
          .file("sys/fs/cgroup/a/memory.max", bytes(100 * mib))
          .file("sys/fs/cgroup/a/memory.current", bytes(70 * mib))
          .available();
  CHECK(mounts.size() > 500'000);
  CHECK(found.bytes == 30 * mib);
}

TEST_CASE("memory: the memory controller of version 1 is found by its mount, with the hierarchy's file cache") {
  Machine machine;
  machine.file("proc/self/cgroup", "9:cpu,cpuacct:/x\n4:memory:/jobs/one\n0::/\n")
      .file("proc/self/mountinfo",
            "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
            "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n")
      .file("sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes", bytes(64 * mib))
      .file("sys/fs/cgroup/memory/jobs/one/memory.usage_in_bytes", bytes(64 * mib))
      .file("sys/fs/cgroup/memory/jobs/one/memory.stat", "inactive_file 1\nactive_file 1\ntotal_inactive_file " +
                                                             bytes(30 * mib) + "total_active_file " + bytes(2 * mib))
      .file("sys/fs/cgroup/memory/memory.limit_in_bytes", bytes(9223372036854771712ull));
  CHECK(machine.available().bytes == 32 * mib);
}

TEST_CASE("memory: in a container the mount shows a part of the hierarchy, and its top is examined") {
  Machine machine;
  machine.file("proc/self/cgroup", "4:memory:/docker/abc/worker\n")
      .file("proc/self/mountinfo", "35 31 0:32 /docker/abc /sys/fs/cgroup/memory\\040x rw - cgroup cgroup rw,memory\n")
      .file("sys/fs/cgroup/memory x/worker/memory.limit_in_bytes", bytes(10 * mib))
      .file("sys/fs/cgroup/memory x/memory.limit_in_bytes", bytes(7 * mib));
  CHECK(machine.available().bytes == 7 * mib);
  // A process outside the mounted part is looked up at the mount's top.
  machine.file("proc/self/cgroup", "4:memory:/elsewhere\n");
  CHECK(machine.available().bytes == 7 * mib);
}

TEST_CASE("memory: truncated texts and texts without numbers are no limit") {
  CHECK(!mmap::parse_meminfo(""));
  CHECK(!mmap::parse_meminfo("MemAvailable:"));
  CHECK(!mmap::parse_limit("max\n"));
  CHECK(!mmap::parse_limit(""));
  CHECK(!mmap::parse_limit("9223372036854771712\n"));
  CHECK(mmap::parse_limit("67108864\n") == 67108864u);
  CHECK(mmap::parse_file_cache("inactive_file x\nactive_file", true) == 0);
  for (const char* text : {"", ":", "4:memory", "4:memory:\n", "a b c d e f", "1 2 3 / /x rw - cgroup2"})
    CHECK(mmap::parse_cgroups(text, text).empty());
}

TEST_CASE("memory: this machine has memory available, and the limit is named") {
  const mmap::MemoryAvailable found = mmap::memory_available();
  CHECK(found.bytes > 0);
  CHECK(found.bytes != mmap::MemoryAvailable::unknown);
  CHECK(!found.limited_by.empty());
}
