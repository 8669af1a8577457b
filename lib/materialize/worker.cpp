// One thread's part of a load: takes batches, chooses a path for each, and fetches and lands their chunks.
#include <algorithm>
#include <optional>

#include "heft/error.hpp"
#include "materialize/arena.hpp"
#include "materialize/landing.hpp"
#include "materialize/load.hpp"
#include "materialize/pump.hpp"
#include "mmap/mapping.hpp"
#include "mmap/pages.hpp"
#include "mmap/residency.hpp"
#include "mmap/syscalls.hpp"

namespace heft::engine {
namespace {

// Residency is asked for by samples: a window of the page cache every so many bytes.
constexpr std::uint64_t sample_step = 512u << 10;
constexpr std::uint64_t sample_bytes = 64u << 10;
constexpr double mostly = 0.9;
// Parts of a plain chunk shorter than this come through a buffer, many to a read.
constexpr std::uint64_t worth_a_read = 16u << 10;
// What passes through a buffer stays in the second-level cache.
constexpr std::uint64_t window_bytes = 128u << 10;

struct Choice {
  Path path;
  PathReason reason;
};

class Worker {
 public:
  explicit Worker(Load& load) noexcept : load_(load), layout_(load.layout()) {}

  void run() {
    while (const Batch* batch = load_.next_batch()) take(*batch);
    if (pump_) pump_->drain();
    load_.add_stats(share_);
  }

 private:
  void take(const Batch& batch) {
    const Choice choice = choose(batch);
    if (pump_ && choice.path != Path::direct) pump_->flush();
    for (std::uint32_t i = batch.first; i < batch.last; ++i) {
      const Chunk& chunk = layout_.chunks[i];
      load_.check_stop();
      try {
        fetch(chunk, choice);
      } catch (const Error& error) {
        if (error.code() == ErrorCode::cancelled) throw;
        throw error.with_path(layout_.sources[chunk.source]->path()).with_tensor(load_.tensor_of(chunk));
      }
    }
  }

  [[nodiscard]] bool can_direct(std::uint32_t source) { return load_.direct_files()[source] != nullptr; }

  [[nodiscard]] Choice fallback(PathReason reason) {
    ++share_.fallbacks;
    return {Path::read, reason};
  }

  [[nodiscard]] Choice choose(const Batch& batch) {
    const std::uint32_t source = layout_.chunks[batch.first].source;
    const record::Source& from = *layout_.sources[source];
    if (from.file() == nullptr) return {Path::map, PathReason::in_memory};
    switch (load_.options().path) {
      case Path::map: return from.mapped().empty() ? fallback(PathReason::access_read) : Choice{Path::map, PathReason::asked};
      case Path::read: return {Path::read, PathReason::asked};
      case Path::direct: return can_direct(source) ? Choice{Path::direct, PathReason::asked} : fallback(PathReason::no_direct);
      case Path::automatic: break;
    }
    // While reads find everything there, they are the probe.
    if (!warm_) warm_ = looks_resident(*from.file(), {layout_.chunks[batch.first].range.begin, layout_.chunks[batch.last - 1].range.end});
    if (warm_) return {Path::read, PathReason::resident};
    return cold_choice(source);
  }

  [[nodiscard]] Choice cold_choice(std::uint32_t source) {
    return can_direct(source) ? Choice{Path::direct, PathReason::not_resident} : Choice{Path::read, PathReason::no_direct};
  }

  [[nodiscard]] bool looks_resident(const mmap::File& file, Range range) {
    std::uint64_t pages = 0;
    std::uint64_t resident = 0;
    for (std::uint64_t at = range.begin; at < range.end; at += sample_step) {
      const mmap::Residency sample = mmap::residency(file, at, std::min(sample_bytes, range.end - at));
      if (!sample.known) return probe_by_reading(file, range);
      pages += sample.pages;
      resident += sample.resident;
    }
    return static_cast<double>(resident) >= mostly * static_cast<double>(pages);
  }

  // The kernel tells about the page cache only who may write to the file; but anybody may read what is there.
  [[nodiscard]] bool probe_by_reading(const mmap::File& file, Range range) {
    const std::span<std::byte> into = staging().first(std::min(sample_bytes, range.size()));
    return mmap::read_resident(file, range.begin, into) == into.size();
  }

  void fetch(const Chunk& chunk, const Choice& choice) {
    const record::Source& source = *layout_.sources[chunk.source];
    if (source.file() == nullptr) return take_memory(chunk, source);
    switch (choice.path) {
      case Path::map: return take_mapped(chunk, source, choice);
      case Path::direct: return take_direct(chunk, chunk.range, choice.reason);
      default: return take_read(chunk, *source.file(), choice);
    }
  }

  void count(const Choice& choice, std::uint64_t bytes) {
    share_.bytes_read += bytes;
    add_use(share_.paths, {.path = choice.path, .reason = choice.reason, .bytes = bytes});
  }

  void take_memory(const Chunk& chunk, const record::Source& source) {
    const auto begin = std::chrono::steady_clock::now();
    const Bytes bytes = source.bytes(chunk.range.begin, chunk.range.size());
    const auto fetched = std::chrono::steady_clock::now();
    land(load_, chunk, chunk.range, bytes.span().data());
    share_.worker_fetch_seconds += std::chrono::duration<double>(fetched - begin).count();
    share_.worker_copy_seconds += seconds_since(fetched);
    count({Path::map, PathReason::in_memory}, needed_bytes(layout_, chunk));
  }

  void take_mapped(const Chunk& chunk, const record::Source& source, const Choice& choice) {
    // Populating tells that a page is there, not that it stays: only under a lease does the file keep its size while it is copied.
    const mmap::Lease* lease = load_.lease(chunk.source);
    if (lease == nullptr) return take_read(chunk, *source.file(), fallback(PathReason::no_lease));
    if (lease->is_broken()) throw Error(ErrorCode::changed_on_disk, "another process is about to write to the file or to truncate it");
    const auto begin = std::chrono::steady_clock::now();
    const std::span<const std::byte> window = source.mapped().subspan(chunk.range.begin, chunk.range.size());
    if (!populate(chunk, source, window)) return take_read(chunk, *source.file(), fallback(PathReason::no_populate));
    const auto fetched = std::chrono::steady_clock::now();
    land(load_, chunk, chunk.range, window.data());
    share_.worker_fetch_seconds += std::chrono::duration<double>(fetched - begin).count();
    share_.worker_copy_seconds += seconds_since(fetched);
    // Whole pages around: chunks meet inside pages, and those that only one of them gave up would stay.
    mmap::drop(mmap::pages_around(window, mmap::sys::page_size()));
    count(choice, needed_bytes(layout_, chunk));
  }

  bool populate(const Chunk& chunk, const record::Source& source, std::span<const std::byte> window) {
    if (!chunk.sparse) return mmap::populate(window, *source.file());
    for (const Range& range : needed_ranges(layout_, chunk, Grain{}.gap))
      if (!mmap::populate(source.mapped().subspan(range.begin, range.size()), *source.file())) return false;
    return true;
  }

  void take_direct(const Chunk& chunk, Range range, PathReason reason) {
    if (!pump_) pump_.emplace(load_, share_);
    pump_->feed(chunk, range);
    count({Path::direct, reason}, chunk.plain ? range.size() : needed_bytes(layout_, chunk));
  }

  // Reads `range` of the file. On a warm path a page that is not there ends the reading: the bytes had so far are returned.
  std::uint64_t read(const mmap::File& file, Range range, std::byte* into, const Choice& choice) {
    const auto begin = std::chrono::steady_clock::now();
    const std::span<std::byte> to(into, range.size());
    std::uint64_t had = 0;
    if (choice.reason == PathReason::resident) had = mmap::read_resident(file, range.begin, to);
    else file.read(range.begin, to);
    share_.worker_fetch_seconds += seconds_since(begin);
    return choice.reason == PathReason::resident ? had : range.size();
  }

  void take_read(const Chunk& chunk, const mmap::File& file, const Choice& choice) {
    const std::uint64_t done = chunk.plain ? read_plain(chunk, file, choice) : read_staged(chunk, file, choice);
    if (done != 0) count(choice, chunk.plain ? done : needed_bytes(layout_, chunk));
    if (done == chunk.range.size()) return;
    // Not as warm as it looked.
    warm_ = false;
    const Range rest{chunk.range.begin + done, chunk.range.end};
    const Choice cold = cold_choice(chunk.source);
    if (cold.path == Path::direct) return take_direct(chunk, rest, cold.reason);
    if (chunk.plain) count(cold, read_plain_range(chunk, file, rest, cold));
    else count(cold, (void(read_staged(chunk, file, cold)), needed_bytes(layout_, chunk)));
  }

  // All of the chunk or nothing.
  std::uint64_t read_staged(const Chunk& chunk, const mmap::File& file, const Choice& choice) {
    const std::span<std::byte> buffer = staging();
    if (!chunk.sparse) {
      if (read(file, chunk.range, buffer.data(), choice) < chunk.range.size()) return 0;
    } else {
      for (const Range& range : needed_ranges(layout_, chunk, Grain{}.gap))
        if (read(file, range, buffer.data() + (range.begin - chunk.range.begin), choice) < range.size()) return 0;
    }
    land_timed(chunk, chunk.range, buffer.data());
    return chunk.range.size();
  }

  std::uint64_t read_plain(const Chunk& chunk, const mmap::File& file, const Choice& choice) {
    return read_plain_range(chunk, file, chunk.range, choice);
  }

  // Straight to where the bytes belong, as far as parts go on where the last one ended on both sides; through the buffer where that is not far.
  // Returns how many bytes from the range's begin have landed.
  std::uint64_t read_plain_range(const Chunk& chunk, const mmap::File& file, Range range, const Choice& choice) {
    std::uint64_t at = range.begin;
    while (at < range.end) {
      const Run run = straight_run(chunk, at);
      const std::uint64_t end = std::min(range.end, run.size >= worth_a_read ? at + run.size : at + window_bytes);
      std::byte* const into = run.size >= worth_a_read ? run.to : staging().data();
      const std::uint64_t had = read(file, {at, end}, into, choice);
      if (run.size < worth_a_read) land_timed(chunk, {at, at + had}, into);
      else load_.advance(had);
      at += had;
      if (at < end) break;
    }
    return at - range.begin;
  }

  struct Run {
    std::byte* to = nullptr;
    std::uint64_t size = 0;
  };

  // The destination of the plain chunk's bytes from `at` on, as far as it is one run; none when `at` lies in a gap.
  [[nodiscard]] Run straight_run(const Chunk& chunk, std::uint64_t at) const {
    const std::span<const Part> parts = std::span(layout_.parts).subspan(chunk.first, chunk.last - chunk.first);
    auto part = std::partition_point(parts.begin(), parts.end(), [&](const Part& p) { return p.from_end <= at; });
    if (part->from > at) return {};
    Run run{.to = load_.target(*part).base + part->to + (at - part->from), .size = part->from_end - at};
    for (++part; part != parts.end() && part->from == at + run.size && load_.target(*part).base + part->to == run.to + run.size; ++part)
      run.size += part->from_end - part->from;
    return run;
  }

  void land_timed(const Chunk& chunk, Range range, const std::byte* bytes) {
    const auto begin = std::chrono::steady_clock::now();
    land(load_, chunk, range, bytes);
    share_.worker_copy_seconds += seconds_since(begin);
  }

  [[nodiscard]] std::span<std::byte> staging() {
    if (!staging_) staging_ = Arena::allocate(load_.budget().staging_bytes, 4096);
    return staging_->span();
  }

  Load& load_;
  const Layout& layout_;
  LoadStats share_;
  std::shared_ptr<Arena> staging_;
  std::optional<DirectPump> pump_;
  bool warm_ = false;
};

}  // namespace

void work(Load& load) { Worker(load).run(); }

}  // namespace heft::engine
