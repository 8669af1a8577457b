// mmap/memory_available.hpp: the memory that this process can still take from the machine and from each cgroup around
// it.
//
//   machine   /proc/meminfo: MemAvailable
//   cgroup    limit - (usage - file cache), of the cgroup that /proc/self/cgroup names and of all above it
//             v2: memory.max, memory.current, memory.stat
//             v1: memory.limit_in_bytes, memory.usage_in_bytes, memory.stat
//
// The kernel evicts the file cache (inactive_file + active_file) before it kills a process, so the cache counts as
// free.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace heft::mmap {

/// The available bytes, and the machine or cgroup that limits them.
struct MemoryAvailable {
  static constexpr std::uint64_t unknown = UINT64_MAX;

  std::uint64_t bytes = unknown;  ///< `unknown` if neither /proc nor a cgroup can be read.
  /// For messages: "MemAvailable of /proc/meminfo", "cgroup /sys/fs/cgroup/a: limit 1, in use 2".
  std::string limited_by = {};
};

/// Returns the least of all limits. Reads a few small files. Throws only std::bad_alloc: a file that cannot be read is
/// taken for no limit. `root` is put before every path; tests pass a folder.
[[nodiscard]] MemoryAvailable memory_available(const std::string& root = {});

/// Returns MemAvailable in bytes.
[[nodiscard]] std::optional<std::uint64_t> parse_meminfo(std::string_view text);

/// A mounted hierarchy of cgroups, and the cgroup of this process in it.
struct CgroupPlace {
  std::string mount;   ///< "/sys/fs/cgroup/memory"
  std::string inside;  ///< Path below the mount: "/a/b", or empty at its top.
  bool v2 = false;
};
/// Returns the hierarchies that limit memory, v1's memory controller and v2, from the texts of /proc/self/cgroup and
/// /proc/self/mountinfo.
[[nodiscard]] std::vector<CgroupPlace> parse_cgroups(std::string_view cgroup, std::string_view mountinfo);

/// Parses the limit of a cgroup. Returns nothing for "max", for v1's largest number, and for a text that is no number.
[[nodiscard]] std::optional<std::uint64_t> parse_limit(std::string_view text);
/// Returns the bytes of file cache, from memory.stat. For v1 those of the whole subtree: "total_...".
[[nodiscard]] std::uint64_t parse_file_cache(std::string_view stat, bool v2);

/// Returns the bytes of the last-level cache as the system reports them: not less than what one processor may use.
/// All ones where it reports none.
[[nodiscard]] std::uint64_t last_level_cache_bytes() noexcept;

}  // namespace heft::mmap
