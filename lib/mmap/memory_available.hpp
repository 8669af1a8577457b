// mmap/memory_available.hpp: how much memory this process may still take: of the machine, and of each cgroup around it.
//
//   machine   /proc/meminfo: MemAvailable
//   cgroup    limit - (usage - file cache), of the cgroup that /proc/self/cgroup names and of all above it
//             v2: memory.max, memory.current, memory.stat    v1: memory.limit_in_bytes, memory.usage_in_bytes, memory.stat
//
// File cache (inactive_file + active_file) is given up by the kernel before it ends a process, so it counts as free.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace heft::mmap {

/// What is left, and who leaves no more.
struct MemoryAvailable {
  static constexpr std::uint64_t unknown = UINT64_MAX;

  std::uint64_t bytes = unknown;  ///< `unknown` where neither /proc nor a cgroup can be read.
  std::string limited_by = {};    ///< For sentences: "MemAvailable of /proc/meminfo", "cgroup /sys/fs/cgroup/a: limit 1, in use 2".
};

/// Asks the system. Reads a few small files; throws nothing but std::bad_alloc: what cannot be read limits nothing. `root` goes before every
/// path: tests give a folder.
[[nodiscard]] MemoryAvailable memory_available(const std::string& root = {});

/// MemAvailable in bytes.
[[nodiscard]] std::optional<std::uint64_t> parse_meminfo(std::string_view text);

/// A mounted hierarchy of cgroups with this process's place in it.
struct CgroupPlace {
  std::string mount;   ///< "/sys/fs/cgroup/memory"
  std::string inside;  ///< Path below the mount: "/a/b", or empty at its top.
  bool v2 = false;
};
/// The hierarchies that limit memory, from the texts of /proc/self/cgroup and /proc/self/mountinfo: v1's memory controller and v2.
[[nodiscard]] std::vector<CgroupPlace> parse_cgroups(std::string_view cgroup, std::string_view mountinfo);

/// A limit as a cgroup spells it; nothing for "max", for v1's largest number, and for what is no number.
[[nodiscard]] std::optional<std::uint64_t> parse_limit(std::string_view text);
/// Bytes of file cache, from memory.stat. v1's are those of the whole hierarchy: "total_...".
[[nodiscard]] std::uint64_t parse_file_cache(std::string_view stat, bool v2);

}  // namespace heft::mmap
