#include "mmap/memory_available.hpp"

#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <span>

#include <fmt/format.h>
#include <unistd.h>

#include "mmap/descriptor.hpp"
#include "mmap/syscalls.hpp"

namespace heft::mmap {
namespace {

// Bound of each text read. Files of /proc report a size of 0, so their size cannot be asked for. A mount takes some 200
// bytes of mountinfo, and hosts of containers have thousands: what is cut off could be the cgroup's.
constexpr std::size_t max_file_bytes = 16u << 20;
// Version 1 writes "no limit" as the largest 63-bit multiple of a page.
constexpr std::uint64_t min_no_limit = std::uint64_t{1} << 60;

// Removes the first line from `text` and returns it without its line feed.
std::string_view next_line(std::string_view& text) noexcept {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

// Removes the first word, and white space before it, from `line` and returns it; empty at the end.
std::string_view next_word(std::string_view& line) noexcept {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

// Returns the number at the front of `text`, which a unit or a line feed can follow. Nothing for "max".
std::optional<std::uint64_t> parse_number(std::string_view text) noexcept {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return number;
}

// Returns true when `wanted` is one of `words`, "a,b,c".
bool lists(std::string_view words, std::string_view wanted) noexcept {
  while (!words.empty()) {
    const std::size_t end = std::min(words.find(','), words.size());
    if (words.substr(0, end) == wanted) return true;
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return false;
}

// Returns the number after `key` in lines of "key number".
std::optional<std::uint64_t> value_of(std::string_view text, std::string_view key) noexcept {
  while (!text.empty()) {
    std::string_view line = next_line(text);
    if (next_word(line) == key) return parse_number(next_word(line));
  }
  return std::nullopt;
}

// Returns the path of this process in a hierarchy, from lines of "number:controllers:path".
std::optional<std::string_view> path_in(std::string_view cgroup, bool v2) noexcept {
  while (!cgroup.empty()) {
    const std::string_view line = next_line(cgroup);
    const std::size_t first = line.find(':');
    // The path can contain colons, so only the first two count. A line without them is skipped.
    const std::size_t second = line.find(':', first == line.npos ? first : first + 1);
    if (second == line.npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    // Version 2 is the hierarchy "0::PATH", without controllers; version 1 has one line for each set of them.
    if (v2 ? controllers.empty() : lists(controllers, "memory")) return line.substr(second + 1);
  }
  return std::nullopt;
}

// Decodes mountinfo's escapes of white space and backslashes, such as \040.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    unsigned code = 0;
    // from_chars() would stop at a character that is no octal digit; three digits must have been read.
    const bool octal = text[at] == '\\' && at + 3 < text.size() &&
                       std::from_chars(text.data() + at + 1, text.data() + at + 4, code, 8).ptr == text.data() + at + 4;
    out += octal ? static_cast<char>(code) : text[at];
    if (octal) at += 3;
  }
  return out;
}

// Parses a line of mountinfo: "31 23 0:28 ROOT MOUNT options [optional...] - TYPE source SUPER-OPTIONS".
std::optional<CgroupPlace> place_of(std::string_view line, std::string_view cgroup) {
  // The mount's id, its parent's id, and the device.
  for (int skipped = 0; skipped < 3; ++skipped) next_word(line);
  const std::string root = unescaped(next_word(line));
  const std::string mount = unescaped(next_word(line));
  // The number of optional fields before the dash is not fixed.
  const std::size_t dash = line.find(" - ");
  if (dash == line.npos) return std::nullopt;
  line.remove_prefix(dash + 3);
  const std::string_view type = next_word(line);
  // The source, which is "cgroup" or "none".
  next_word(line);
  const bool v2 = type == "cgroup2";
  // Version 1 mounts each controller for itself, and only the mount of "memory" has the limits.
  if (!v2 && (type != "cgroup" || !lists(next_word(line), "memory"))) return std::nullopt;
  const std::optional<std::string_view> path = path_in(cgroup, v2);
  if (!path) return std::nullopt;
  // In a container the mount can show only a part of the hierarchy. A path outside that part is looked up at its top.
  CgroupPlace place{.mount = mount, .inside = {}, .v2 = v2};
  const std::string_view top = root == "/" ? std::string_view() : std::string_view(root);
  // A root of "/a" must not match the path "/ab". "/../" stands in paths of processes outside the cgroup namespace.
  const bool below = path->starts_with(top) && (path->size() == top.size() || (*path)[top.size()] == '/');
  if (below && path->find("/../") == path->npos) place.inside = path->substr(top.size());
  while (place.inside.ends_with('/')) place.inside.pop_back();
  return place;
}

// Returns the text of a small file; empty when it cannot be read.
std::string read_text(const std::string& path) {
  // Reads without folder or pool: these are no weight files, and a failure means no limit.
  const Descriptor opened = open_at(AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC);
  if (opened.get() < 0) return {};
  std::string text;
  char buffer[4096];
  while (text.size() < max_file_bytes) {
    const std::int64_t got = sys::pread(opened.get(), text.size(), std::as_writable_bytes(std::span(buffer)));
    // -EINTR is not repeated, because reads of /proc and of cgroup files do not wait.
    if (got <= 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
  }
  return text;
}

// Returns the memory that one cgroup leaves.
std::optional<MemoryAvailable> left_of(const std::string& folder, const std::string& root, bool v2) {
  const auto text = [&](std::string_view name) { return read_text(fmt::format("{}{}/{}", root, folder, name)); };
  // Without a limit the usage does not matter.
  const auto limit = parse_limit(text(v2 ? "memory.max" : "memory.limit_in_bytes"));
  if (!limit) return std::nullopt;
  const std::uint64_t usage = parse_number(text(v2 ? "memory.current" : "memory.usage_in_bytes")).value_or(0);
  const std::uint64_t cache = parse_file_cache(text("memory.stat"), v2);
  // memory.stat is read after the usage and can report more cache than that.
  const std::uint64_t held = usage - std::min(usage, cache);
  return MemoryAvailable{
      .bytes = *limit - std::min(*limit, held),
      .limited_by = fmt::format("cgroup {}: limit {}, in use {} without file cache", folder, *limit, held)};
}

}  // namespace

std::optional<std::uint64_t> parse_meminfo(std::string_view text) {
  const auto kilobytes = value_of(text, "MemAvailable:");
  // /proc/meminfo's "kB" are 1024 bytes.
  return kilobytes ? std::optional(*kilobytes * 1024) : std::nullopt;
}

std::vector<CgroupPlace> parse_cgroups(std::string_view cgroup, std::string_view mountinfo) {
  std::vector<CgroupPlace> places;
  while (!mountinfo.empty())
    if (auto place = place_of(next_line(mountinfo), cgroup)) places.push_back(std::move(*place));
  return places;
}

std::optional<std::uint64_t> parse_limit(std::string_view text) {
  const auto limit = parse_number(text);
  return limit && *limit < min_no_limit ? limit : std::nullopt;
}

std::uint64_t parse_file_cache(std::string_view stat, bool v2) {
  const auto inactive = value_of(stat, v2 ? "inactive_file" : "total_inactive_file");
  const auto active = value_of(stat, v2 ? "active_file" : "total_active_file");
  return inactive.value_or(0) + active.value_or(0);
}

MemoryAvailable memory_available(const std::string& root) {
  MemoryAvailable least;
  // MemAvailable is the kernel's own estimate, with the page cache that can be evicted counted as free.
  if (const auto machine = parse_meminfo(read_text(root + "/proc/meminfo")))
    least = {.bytes = *machine, .limited_by = "MemAvailable of /proc/meminfo"};
  const auto places = parse_cgroups(read_text(root + "/proc/self/cgroup"), read_text(root + "/proc/self/mountinfo"));
  for (const CgroupPlace& place : places) {
    // Each cgroup above limits the sum of its children, so the least of all counts. The top of the mount, an empty
    // path, comes last; in a container it has the container's limit.
    for (std::string inside = place.inside;; inside.resize(inside.rfind('/'))) {
      if (auto left = left_of(place.mount + inside, root, place.v2); left && left->bytes < least.bytes)
        least = std::move(*left);
      if (inside.find('/') == inside.npos) break;
    }
  }
  return least;
}

std::uint64_t last_level_cache_bytes() noexcept {
  // 0 or -1 where the C library does not know: on ARM, and in some virtual machines.
  for (const int level : {_SC_LEVEL3_CACHE_SIZE, _SC_LEVEL2_CACHE_SIZE})
    if (const long bytes = ::sysconf(level); bytes > 0) return static_cast<std::uint64_t>(bytes);
  return ~std::uint64_t{0};
}

}  // namespace heft::mmap
