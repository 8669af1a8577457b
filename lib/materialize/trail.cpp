#include "materialize/trail.hpp"

#include <algorithm>
#include <exception>
#include <span>

#include "heft/error.hpp"
#include "mmap/mapping.hpp"
#include "mmap/pages.hpp"
#include "mmap/residency.hpp"
#include "mmap/syscalls.hpp"

namespace heft::engine {
namespace {

// The kernel reads ahead by less than this: two windows of the device's setting (128 KiB to 8 MiB are usual), rounded
// to large folios.
constexpr std::uint64_t read_ahead = 32u << 20;

// A chunk, and what may be read ahead around it; nothing for a source that is no file.
Range reach_of(const Layout& layout, const Chunk& chunk) noexcept {
  const mmap::File* const file = layout.sources[chunk.source]->file();
  if (file == nullptr) return {};
  return {chunk.range.begin - std::min(chunk.range.begin, read_ahead),
          std::min(file->size_bytes(), chunk.range.end + read_ahead)};
}

// Of each source, all that its chunks reach.
std::vector<Range> reaches(const Layout& layout) {
  std::vector<Range> ranges(layout.sources.size());
  for (const Chunk& chunk : layout.chunks) {
    Range& range = ranges[chunk.source];
    const Range more = reach_of(layout, chunk);
    range = range.size() == 0 ? more : Range{std::min(range.begin, more.begin), std::max(range.end, more.end)};
  }
  return ranges;
}

// Entering a page enters some around it, beyond what the load copied and gave up; and what is mapped stays in the
// cache.
void unmap(const record::Source& source, Range range) noexcept {
  const std::span<const std::byte> mapped = source.mapped();
  if (mapped.size() < range.end) return;
  mmap::drop(mmap::pages_around(mapped.subspan(range.begin, range.size()), mmap::sys::page_size()));
}

Range whole_pages(Range range, std::uint64_t page) noexcept {
  return {range.begin / page * page, (range.end + page - 1) / page * page};
}

std::uint64_t resident_bytes(const mmap::File& file, Range range, std::uint64_t page) {
  const std::uint64_t end = std::min(range.end, file.size_bytes());
  return mmap::residency(file, range.begin, end - range.begin).resident * page;
}

}  // namespace

Trail::Trail(const Layout& layout) : layout_(layout) {
  const std::uint64_t page = mmap::sys::page_size();
  for (std::uint32_t source = 0; const Range& range : reaches(layout)) {
    Pages& pages = before_.emplace_back();
    const mmap::File* const file = layout.sources[source++]->file();
    if (range.size() == 0) continue;
    try {
      pages = {range.begin / page * page, mmap::resident_pages(*file, range.begin, range.size())};
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unsupported) throw;
    }
  }
}

std::uint64_t Trail::drop_new(const mmap::File& file, const Pages& before, Range range) const {
  const std::uint64_t page = mmap::sys::page_size();
  range = whole_pages(range, page);
  std::size_t at = range.begin < before.begin ? 0 : (range.begin - before.begin) / page;
  const std::size_t end =
      std::min<std::uint64_t>(before.resident.size(), (range.end - std::min(range.end, before.begin)) / page);
  std::uint64_t dropped = 0;
  while (at < end) {
    if (before.resident[at]) {
      ++at;
      continue;
    }
    const std::size_t first = at;
    while (at < end && !before.resident[at]) ++at;
    const Range run{before.begin + first * page, before.begin + at * page};
    const std::uint64_t there = resident_bytes(file, run, page);
    if (there == 0) continue;
    mmap::drop_cache(file, run.begin, run.size());
    const std::uint64_t left = resident_bytes(file, run, page);
    dropped += there - std::min(there, left);
  }
  return dropped;
}

// Failing to tidy up is no reason to fail a load.
std::uint64_t Trail::give_up(std::uint32_t source, Range range) const noexcept {
  const mmap::File* const file = layout_.sources[source]->file();
  if (file == nullptr || range.size() == 0) return 0;
  try {
    return drop_new(*file, before_[source], range);
  } catch (const std::exception&) {
    return 0;
  }
}

std::uint64_t Trail::give_up_all() const noexcept {
  std::uint64_t dropped = 0;
  Range near;
  for (std::size_t i = 0; i < layout_.chunks.size(); ++i) {
    const Chunk& chunk = layout_.chunks[i];
    near = near.size() == 0 ? reach_of(layout_, chunk)
                            : Range{near.begin, std::max(near.end, reach_of(layout_, chunk).end)};
    const Chunk* const next = i + 1 < layout_.chunks.size() ? &chunk + 1 : nullptr;
    if (next != nullptr && next->source == chunk.source && reach_of(layout_, *next).begin <= near.end) continue;
    unmap(*layout_.sources[chunk.source], near);
    dropped += give_up(chunk.source, near);
    near = {};
  }
  return dropped;
}

std::uint64_t Trail::table_bytes(const Layout& layout) noexcept {
  std::uint64_t bytes = 0;
  for (const auto& source : layout.sources)
    if (source->file() != nullptr) bytes += source->size_bytes() / mmap::sys::page_size() / 8 + sizeof(Pages) + 64;
  return bytes;
}

}  // namespace heft::engine
