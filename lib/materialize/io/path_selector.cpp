#include "materialize/io/path_selector.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <span>

#include "materialize/budget.hpp"
#include "mmap/mapping.hpp"
#include "mmap/pages.hpp"
#include "mmap/residency.hpp"

namespace heft::engine {
namespace {

// Residency is asked for by samples: some pages every so many bytes.
constexpr mmap::Sampling sampling{.step = 1u << 20, .bytes = 32u << 10};
constexpr double mostly = 0.9;

// Only the time to enter pages shows how they lie in the page cache: some ten microseconds for 1 MiB inside a huge
// page, a hundred if each page has an entry of its own, and as long again to give them up. A thread copies 10 to 20
// GB/s, so pages that are entered more slowly than this are better read.
constexpr std::uint64_t trial_bytes = min_mapped_batch;
constexpr double cheap_bytes_a_second = 25e9;
// A file may have been read in several ways, and begins with smaller pages than it continues with: a trial stands for
// so many batches of a worker. A file that is found slow repeatedly is tried less and less often.
constexpr unsigned trust_in_cheap = 8;
constexpr unsigned max_distrust = 16;

// Returns true if all samples of a range can be read without waiting for the device: so residency is found out where
// the kernel does not report it to this process, which can read the file.
bool probe_by_reading(const mmap::File& file, Range range) {
  constexpr std::uint64_t probes = 4;
  std::array<std::byte, sampling.bytes> into;
  // Four samples for a batch, or fewer where they would overlap. A read of an absent page ends early instead of waiting
  // for the device.
  for (std::uint64_t at = range.begin; at < range.end; at += std::max(range.size() / probes, sampling.bytes)) {
    const std::span<std::byte> sample = std::span(into).first(std::min(sampling.bytes, range.end - at));
    if (mmap::read_resident(file, at, sample) < sample.size()) return false;
  }
  return true;
}

}  // namespace

Selected PathSelector::choose(const Batch& batch) {
  const SourceIndex source = setup_.schedule.chunks_of(batch).front().source;
  const record::Source& from = setup_.schedule.source(source);
  switch (from.kind()) {
    case record::Source::Kind::requested: return {IoMethod::read, IoReason::requested};
    case record::Source::Kind::memory: return {IoMethod::map, IoReason::in_memory};
    case record::Source::Kind::made:
      return batch.steps_back ? Selected{IoMethod::map, IoReason::in_memory} : Selected{IoMethod::read, IoReason::made};
    case record::Source::Kind::file: break;
  }
  // Before the residency, whose calls cost more than small batches take.
  if (asked_ != IoMethod::automatic) return as_asked(source);
  if (looks_resident(from, range_of(setup_.schedule.chunks_of(batch)))) return resident(batch, source);
  // Buffered reads would copy every byte once more, and evict pages of others.
  return can_direct(source) ? Selected{IoMethod::direct, IoReason::not_resident}
                            : Selected{IoMethod::read, IoReason::no_direct};
}

Selected PathSelector::as_asked(SourceIndex source) {
  const bool is_mapped = !setup_.schedule.source(source).mapped().empty();
  switch (asked_) {
    case IoMethod::map:
      // From the cheapest test to the dearest: the lease takes a system call.
      if (!is_mapped) return fallback(IoReason::access_read);
      if (setup_.sink.staging() != nullptr) return fallback(IoReason::device_destination);
      return can_map(source) ? Selected{IoMethod::map, IoReason::asked} : fallback(IoReason::no_lease);
    case IoMethod::direct:
      return can_direct(source) ? Selected{IoMethod::direct, IoReason::asked} : fallback(IoReason::no_direct);
    default: return {IoMethod::read, IoReason::asked};
  }
}

Selected PathSelector::resident(const Batch& batch, SourceIndex source) {
  const Schedule& schedule = setup_.schedule;
  const std::span<const Chunk> chunks = schedule.chunks_of(batch);
  // One chunk that gains is enough: of_chunk() reads the others.
  const bool gains = std::any_of(chunks.begin(), chunks.end(), [&](const Chunk& c) { return gains_by_mapping(c); });
  const bool maps = gains && can_map(source) && is_cheap_to_map(schedule.source(source), range_of(chunks));
  // A lease that is not used would keep writers of the file waiting.
  if (!maps) lease_.reset();
  return {maps ? IoMethod::map : IoMethod::read, IoReason::resident};
}

Selected PathSelector::of_chunk(const Chunk& chunk, const Selected& of_batch) const noexcept {
  const bool chosen = of_batch.method == IoMethod::map && of_batch.reason == IoReason::resident;
  return chosen && !gains_by_mapping(chunk) ? Selected{IoMethod::read, IoReason::resident} : of_batch;
}

Selected PathSelector::fallback(IoReason reason) noexcept {
  ++share_.fallbacks;
  return {IoMethod::read, reason};
}

bool PathSelector::can_direct(SourceIndex source) {
  direct_ = setup_.sources.direct_file(source);
  return direct_ != nullptr;
}

bool PathSelector::can_map(SourceIndex source) {
  // On the way to a device, reads go into staging buffers; a mapping would be copied there, and be held while the
  // device is slow.
  if (setup_.schedule.source(source).mapped().empty() || setup_.sink.staging() != nullptr) return false;
  lease_ = setup_.sources.lease(source);
  return lease_ != nullptr;
}

bool PathSelector::looks_resident(const record::Source& source, Range range) const {
  const mmap::File& file = *source.file();
  // mincore needs a mapping and permission, which must be examined first; cachestat (Linux 6.5) needs the latter only,
  // and looks at each page; reading without waiting needs neither.
  mmap::Residency found{.known = false};
  const bool is_small = range.size() <= sampling.step;
  if (is_small) found = mmap::cached_residency(file, range.begin, range.size());
  if (!found.known && !source.mapped().empty()) {
    // Several samples of a small range too: its first pages may be those that were read ahead of the range before.
    mmap::Sampling several = sampling;
    several.step = std::clamp(range.size() / 4, std::uint64_t{128} << 10, std::uint64_t{sampling.step});
    found = mmap::sampled_residency(source.mapped().subspan(range.begin, range.size()), file, several);
    if (found.os_error != 0) setup_.monitor.note("mincore", found.os_error);
  }
  // Nothing is mapped for this: with Access::read no byte of a file ever is.
  if (!found.known && !is_small) found = mmap::cached_residency(file, range.begin, range.size());
  return found.known ? found.fraction() >= mostly : probe_by_reading(file, range);
}

// The mapping saves a copy for bytes that are converted in order, and for those that are stored past the caches. A page
// of fresh memory is in the cache after the kernel has zeroed it, and a read copies into it at once. Rows that become
// columns, or lie apart, are gathered faster from a buffer that stays in the cache.
bool PathSelector::gains_by_mapping(const Chunk& chunk) const noexcept {
  // Pages around a run, or a row, are entered for a few bytes of each.
  if (chunk.sparse || chunk.transposed) return false;
  return !chunk.contiguous || setup_.sink.store_of(setup_.schedule.parts_of(chunk).front()) == Store::streaming;
}

bool PathSelector::maps_cheaply(std::span<const std::byte> trial, const mmap::File& file) {
  // The trial counts as fetching: it is work of this load, though its pages are given up again.
  const auto begin = std::chrono::steady_clock::now();
  const bool entered = mmap::populate(trial, file);
  const double seconds = seconds_since(begin);
  share_.worker_fetch_seconds += seconds;
  if (entered)
    mmap::drop(trial);
  else
    setup_.monitor.note("madvise(MADV_POPULATE_READ): refused");
  return entered && static_cast<double>(trial.size()) >= seconds * cheap_bytes_a_second;
}

bool PathSelector::is_cheap_to_map(const record::Source& source, Range range) {
  // Of less, the call itself takes longer than the pages.
  if (range.size() < trial_bytes) return cheap_to_map_;
  if (trusted_batches_ > 0) {
    --trusted_batches_;
    return cheap_to_map_;
  }
  const auto trial = mmap::pages_around(source.mapped().subspan(range.begin, trial_bytes), mmap::page_size());
  // A range not yet known to be slow is sampled twice: other work on the machine can make one sample look slow.
  cheap_to_map_ = maps_cheaply(trial, *source.file()) || (distrusted_ == 0 && maps_cheaply(trial, *source.file()));
  // 1, 3, 7, ... batches until the next trial, so that a slow file costs ever fewer of them.
  distrusted_ = cheap_to_map_ ? 0 : std::min(2 * distrusted_ + 1, max_distrust);
  trusted_batches_ = cheap_to_map_ ? trust_in_cheap : distrusted_;
  return cheap_to_map_;
}

}  // namespace heft::engine
