// materialize/io/page_snapshot.hpp: which pages of files were in the page cache at one moment.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "materialize/schedule.hpp"

namespace heft::engine {

/// The kernel reads ahead by less than this: two windows of the device's setting (128 KiB to 8 MiB are usual), rounded
/// to large folios.
inline constexpr std::uint64_t read_ahead = 32u << 20;

/// A chunk, and what may be read ahead around it; nothing for a source that is no file.
[[nodiscard]] Range reach_of(const Schedule& schedule, const Chunk& chunk) noexcept;

/// The pages of a plan's files that were in the page cache. Immutable once made; const members may be called from
/// several threads.
class PageSnapshot {
 public:
  /// Pages of one source, from a multiple of the page size on. Empty: unknown, or nothing to read.
  struct Pages {
    std::uint64_t begin = 0;
    std::vector<bool> resident;
  };

  PageSnapshot() = default;
  /// Looks now at all that the chunks of `schedule` reach.
  static PageSnapshot of_chunks(const Schedule& schedule);
  /// Looks now at all of every file that `transfers` read.
  static PageSnapshot of_files(const Transfers& transfers);

  /// Of a source; none for one that was not looked at.
  [[nodiscard]] const Pages& of(const record::Source& source) const noexcept;

 private:
  void look(const record::Source& source, Range range);

  std::unordered_map<const record::Source*, Pages> pages_;
};

}  // namespace heft::engine
