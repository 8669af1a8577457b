// materialize/io/page_cache_cleanup.hpp: what a load leaves in the page cache, and how it is taken away again.
#pragma once

#include <cstdint>

#include "materialize/io/page_snapshot.hpp"
#include "materialize/schedule.hpp"

namespace heft::engine {

/// Takes away what a load left in the page cache, and nothing that was there before. Immutable once made; const members
/// may be called from several threads.
///
/// Where the kernel does not report residency (to a process that neither owns the file nor may write it), nothing is
/// evicted: pages that are not known to be new may be old.
class PageCacheCleanup {
 public:
  /// `before` was made before anything of the schedule was read. Both outlive this.
  PageCacheCleanup(const Schedule& schedule, const PageSnapshot& before) noexcept
      : schedule_(schedule), before_(before) {}

  /// Evicts pages of [range.begin, range.end) of a source, partly covered ones too, that are in the page cache now
  /// and were not before. Pages that a process maps, or that are dirty, stay. Returns the bytes evicted.
  std::uint64_t evict(SourceIndex source, Range range) const noexcept;
  /// The same for all that the schedule reads and what the kernel reads ahead of it: after the last read.
  std::uint64_t evict_all() const noexcept;

  /// Turns the kernel's reading ahead off and on again, for the files that evict() knows about.
  void set_read_ahead(bool wanted) const noexcept;

  /// Memory that the snapshot of all that `transfers` read takes.
  static std::uint64_t table_bytes(const Transfers& transfers) noexcept;

 private:
  [[nodiscard]] std::uint64_t drop_new(const record::Source& source, const PageSnapshot::Pages& before,
                                       Range range) const;

  const Schedule& schedule_;
  const PageSnapshot& before_;
};

/// No reading ahead by buffered reads while it lives: what is read ahead may arrive after its pages were given up. The
/// kernel keeps that for the descriptor, which loads of one checkpoint share: the first of two to end turns it on
/// again.
class NoReadAhead {
 public:
  /// Null: pages may stay, so nothing changes.
  explicit NoReadAhead(const PageCacheCleanup* cleanup) noexcept : cleanup_(cleanup) {
    if (cleanup_ != nullptr) cleanup_->set_read_ahead(false);
  }
  ~NoReadAhead() {
    if (cleanup_ != nullptr) cleanup_->set_read_ahead(true);
  }
  NoReadAhead(const NoReadAhead&) = delete;
  NoReadAhead& operator=(const NoReadAhead&) = delete;

 private:
  const PageCacheCleanup* cleanup_;
};

}  // namespace heft::engine
