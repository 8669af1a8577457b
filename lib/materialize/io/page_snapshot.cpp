#include "materialize/io/page_snapshot.hpp"

#include <algorithm>
#include <span>

#include "heft/error.hpp"
#include "mmap/pages.hpp"
#include "mmap/residency.hpp"

namespace heft::engine {
namespace {

// Of each source, all that its chunks reach.
std::vector<Range> reaches(const Schedule& schedule) {
  std::vector<Range> ranges(schedule.transfers->sources.size());
  for (const Chunk& chunk : schedule.chunks) {
    // One range from the first chunk to the last, gaps included: a bit a page costs less than a list of ranges.
    Range& range = ranges[position(chunk.source)];
    const Range more = reach_of(schedule, chunk);
    range = range.size() == 0 ? more : Range{std::min(range.begin, more.begin), std::max(range.end, more.end)};
  }
  return ranges;
}

}  // namespace

Range reach_of(const Schedule& schedule, const Chunk& chunk) noexcept {
  const mmap::File* const file = schedule.source(chunk.source).file();
  if (file == nullptr) return {};
  // The kernel also reads around a fault, before the bytes that were touched.
  return {chunk.range.begin - std::min(chunk.range.begin, read_ahead),
          std::min(file->size_bytes(), chunk.range.end + read_ahead)};
}

PageSnapshot PageSnapshot::of_chunks(const Schedule& schedule) {
  PageSnapshot snapshot;
  for (std::uint32_t source = 0; const Range& range : reaches(schedule))
    snapshot.look(schedule.source(SourceIndex{source++}), range);
  return snapshot;
}

PageSnapshot PageSnapshot::of_files(const Transfers& transfers) {
  PageSnapshot snapshot;
  for (const auto& source : transfers.sources)
    if (source->file() != nullptr) snapshot.look(*source, {0, source->file()->size_bytes()});
  return snapshot;
}

const PageSnapshot::Pages& PageSnapshot::of(const record::Source& source) const noexcept {
  // Empty, which is read as: no page may be evicted.
  static const Pages unknown;
  const auto found = pages_.find(&source);
  return found == pages_.end() ? unknown : found->second;
}

void PageSnapshot::look(const record::Source& source, Range range) {
  if (range.size() == 0) return;
  const std::uint64_t page = mmap::page_size();
  try {
    // mincore needs a mapping; cachestat answers for a file that has none.
    const std::span<const std::byte> mapped = source.mapped();
    pages_[&source] = {range.begin / page * page,
                       mapped.empty()
                           ? mmap::cached_pages(*source.file(), range.begin, range.size())
                           : mmap::resident_pages(mapped.subspan(range.begin, range.size()), *source.file())};
  } catch (const Error& error) {
    // The kernel does not tell this process: the source then has no entry, and keeps all its pages.
    if (error.code() != ErrorCode::unsupported) throw;
  }
}

}  // namespace heft::engine
