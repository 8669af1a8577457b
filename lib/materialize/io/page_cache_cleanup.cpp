#include "materialize/io/page_cache_cleanup.hpp"

#include <algorithm>
#include <exception>
#include <span>

#include "mmap/mapping.hpp"
#include "mmap/pages.hpp"
#include "mmap/residency.hpp"

namespace heft::engine {
namespace {

// Entering a page also enters some around it, beyond those that the load copied and gave up; and mapped pages stay in
// the cache.
void unmap(const record::Source& source, Range range) noexcept {
  const std::span<const std::byte> mapped = source.mapped();
  // With Access::read, and for sources that are read only, there is no mapping to release.
  if (mapped.size() < range.end) return;
  mmap::drop(mmap::pages_around(mapped.subspan(range.begin, range.size()), mmap::page_size()));
}

Range whole_pages(Range range, std::uint64_t page) noexcept {
  return {range.begin / page * page, (range.end + page - 1) / page * page};
}

// By the mapping that there is, or without one.
std::uint64_t resident_bytes(const record::Source& source, Range range, std::uint64_t page) {
  const mmap::File& file = *source.file();
  const std::span<const std::byte> mapped = source.mapped();
  // The last page may reach past the end of the file, which neither call accepts.
  const std::uint64_t size = std::min(range.end, file.size_bytes()) - range.begin;
  return page * (mapped.empty() ? mmap::cached_residency(file, range.begin, size)
                                : mmap::residency(mapped.subspan(range.begin, size), file))
                    .resident;
}

}  // namespace

std::uint64_t PageCacheCleanup::drop_new(const record::Source& source, const PageSnapshot::Pages& before,
                                         Range range) const {
  const std::uint64_t page = mmap::page_size();
  range = whole_pages(range, page);
  // Both in pages of the snapshot, which may cover less than the range: pages that were not looked at are not evicted.
  std::size_t at = range.begin < before.begin ? 0 : (range.begin - before.begin) / page;
  const std::size_t end =
      std::min<std::uint64_t>(before.resident.size(), (range.end - std::min(range.end, before.begin)) / page);
  std::uint64_t dropped = 0;
  while (at < end) {
    if (before.resident[at]) {
      ++at;
      continue;
    }
    // One call for each run of pages that were absent before.
    const std::size_t first = at;
    while (at < end && !before.resident[at]) ++at;
    const Range run{before.begin + first * page, before.begin + at * page};
    const std::uint64_t there = resident_bytes(source, run, page);
    if (there == 0) continue;
    mmap::drop_cache(*source.file(), run.begin, run.size());
    const std::uint64_t left = resident_bytes(source, run, page);
    // Counted by looking again: the kernel keeps pages that are mapped, dirty or locked, and reports nothing.
    dropped += there - std::min(there, left);
  }
  return dropped;
}

// Failing to tidy up is no reason to fail a load.
std::uint64_t PageCacheCleanup::evict(SourceIndex source, Range range) const noexcept {
  // Sources of the caller's, and memory, have no page cache of heft's making.
  const mmap::File* const file = schedule_.source(source).file();
  if (file == nullptr || range.size() == 0) return 0;
  try {
    return drop_new(schedule_.source(source), before_.of(schedule_.source(source)), range);
  } catch (const std::exception&) {
    return 0;
  }
}

std::uint64_t PageCacheCleanup::evict_all() const noexcept {
  std::uint64_t dropped = 0;
  Range near;
  for (std::size_t i = 0; i < schedule_.chunks.size(); ++i) {
    const Chunk& chunk = schedule_.chunks[i];
    near = near.size() == 0 ? reach_of(schedule_, chunk)
                            : Range{near.begin, std::max(near.end, reach_of(schedule_, chunk).end)};
    // Neighbouring chunks are joined, with the pages that are read ahead around them, so that each page is examined
    // once.
    const Chunk* const next = i + 1 < schedule_.chunks.size() ? &chunk + 1 : nullptr;
    const Range next_reach = next == nullptr ? Range{} : reach_of(schedule_, *next);
    // A schedule in groups steps back in a file at times.
    const bool joins = near.begin <= next_reach.begin && next_reach.begin <= near.end;
    if (next != nullptr && next->source == chunk.source && joins) continue;
    unmap(schedule_.source(chunk.source), near);
    dropped += evict(chunk.source, near);
    near = {};
  }
  return dropped;
}

void PageCacheCleanup::set_read_ahead(bool wanted) const noexcept {
  for (const auto& source : schedule_.transfers->sources)
    // Without a snapshot nothing is evicted, so reading ahead does no harm.
    if (!before_.of(*source).resident.empty()) mmap::read_ahead(*source->file(), wanted);
}

std::uint64_t PageCacheCleanup::table_bytes(const Transfers& transfers) noexcept {
  std::uint64_t bytes = 0;
  for (const auto& source : transfers.sources)
    // A bit for each page, and the node of the map that contains the table.
    if (source->file() != nullptr)
      bytes += source->size_bytes() / mmap::page_size() / 8 + sizeof(PageSnapshot::Pages) + 64;
  return bytes;
}

}  // namespace heft::engine
