#include "mmap/identity.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <string_view>

namespace heft::mmap {
namespace {

std::int64_t nanoseconds(const struct ::timespec& time) noexcept {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// "1700000000.123456789"
std::string seconds(std::int64_t time_ns) {
  constexpr std::int64_t second = 1'000'000'000;
  // Rounds down, not towards zero, so that the fraction of a time before 1970 is positive too.
  const std::int64_t whole = time_ns / second - (time_ns % second < 0 ? 1 : 0);
  return fmt::format("{}.{:09}", whole, time_ns - whole * second);
}

// Returns the message of a difference: "expected size 12 as when it was opened, found 13".
std::string message_of(std::string_view what, std::string_view expected, std::string_view found) {
  return fmt::format("expected {} {} as when it was opened, found {}", what, expected, found);
}

}  // namespace

Identity identity_of(const struct ::stat& status) noexcept {
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .size_bytes = static_cast<std::uint64_t>(status.st_size),
          .mtime_ns = nanoseconds(status.st_mtim),
          .ctime_ns = nanoseconds(status.st_ctim),
          .nlink = status.st_nlink,
          .mode = status.st_mode,
          .uid = status.st_uid,
          .gid = status.st_gid};
}

bool only_ctime_moved(const Identity& opened, const Identity& now) noexcept {
  Identity same = now;
  same.ctime_ns = opened.ctime_ns;
  return now.ctime_ns != opened.ctime_ns && same == opened;
}

std::string difference(const Identity& opened, const Identity& now) {
  if (!opened.is_same_file(now))
    return message_of("device:inode", fmt::format("{}:{}", opened.device, opened.inode),
                      fmt::format("{}:{}", now.device, now.inode));
  if (opened.size_bytes != now.size_bytes)
    return message_of("size", std::to_string(opened.size_bytes), std::to_string(now.size_bytes));
  if (opened.mtime_ns != now.mtime_ns)
    return message_of("modification time", seconds(opened.mtime_ns), seconds(now.mtime_ns));
  if (only_ctime_moved(opened, now)) return message_of("change time", seconds(opened.ctime_ns), seconds(now.ctime_ns));
  return {};
}

}  // namespace heft::mmap
