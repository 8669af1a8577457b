// Another process that changes a model's file during a load.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>

namespace heft::test {

/// Ways in which files change.
enum class Doing : std::uint8_t {
  rewrite,       ///< cp new over it: truncated, written in place.
  overwrite,     ///< Written in place without truncating, the same size.
  restore_time,  ///< As overwrite, with the mtime set back.
  truncate,      ///< Cut to half.
  append,
  rename_over,  ///< mv new over it.
  rename_away,  ///< mv it away.
  remove,
  change_mode,
  add_link,
  count_,
};

[[nodiscard]] std::string_view name(Doing doing);

/// Returns true for changes after which the opened file keeps its bytes: every load succeeds.
[[nodiscard]] bool keeps_bytes(Doing doing);

/// Changes the file at `path` once. A writer that a lease blocks continues in a separate thread, as another process
/// would.
class Bystander {
 public:
  /// `content` is the new content, of the same size for `overwrite`. restore_time restores the current mtime.
  Bystander(Doing doing, std::filesystem::path path, std::string content);
  /// Waits for the writer.
  ~Bystander();
  Bystander(const Bystander&) = delete;
  Bystander& operator=(const Bystander&) = delete;

  void act();
  [[nodiscard]] bool has_acted() const noexcept { return acted_; }
  /// True where the kernel held the writer up: what it does may come after the load.
  [[nodiscard]] bool was_held_up() const noexcept { return writer_.joinable(); }

 private:
  void write(int flags);
  void write_to(int handle) const;

  Doing doing_;
  std::filesystem::path path_;
  std::string content_;
  struct Times {
    std::int64_t seconds = 0;
    std::int64_t nanoseconds = 0;
  } mtime_;
  bool acted_ = false;
  std::jthread writer_;
};

}  // namespace heft::test
