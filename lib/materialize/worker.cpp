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

// Residency is asked for by samples: some pages every so many bytes. Each batch is asked about: what is found out
// about one says nothing about the next, which a load that was broken off, or another rank's, may have left out.
constexpr std::uint64_t sample_step = 1u << 20;
constexpr std::uint64_t sample_bytes = 32u << 10;
constexpr double mostly = 0.9;
// Parts of a plain chunk shorter than this come through a buffer, many to a read.
constexpr std::uint64_t worth_a_read = 16u << 10;
// What passes through a buffer stays in the second-level cache.
constexpr std::uint64_t buffer_window = 128u << 10;

struct Choice {
  Path path;
  PathReason reason;
};

// Pages of a mapping that are being copied from; given up when that is over, however it ends.
class Window {
 public:
  ~Window() { give_up(); }
  void set(std::span<const std::byte> mapped, Range range) noexcept {
    mapped_ = mapped.subspan(range.begin, range.size());
    end_ = range.end;
  }
  /// Whether the window has the bytes before `end`, of those that come in order.
  [[nodiscard]] bool reaches(std::uint64_t end) const noexcept { return end <= end_; }
  /// Whole pages around: windows meet inside pages, and those that only one of them gave up would stay.
  void give_up() noexcept {
    mmap::drop(mmap::pages_around(mapped_, mmap::sys::page_size()));
    mapped_ = {};
    end_ = 0;
  }

 private:
  std::span<const std::byte> mapped_;
  std::uint64_t end_ = 0;
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
    std::uint32_t number = batch.first;
    Choice choice{};
    try {
      choice = choose(batch);
      if (pump_ && choice.path != Path::direct) pump_->flush();
      while (number < batch.last) {
        load_.check_stop();
        number += fetch(batch, layout_.chunks[number], choice);
      }
    } catch (const Error& error) {
      if (error.code() == ErrorCode::cancelled) throw;
      const Chunk& chunk = layout_.chunks[number];
      throw error.with_path(layout_.sources[chunk.source]->path())
          .with_tensor(load_.tensor_of(chunk, error.offset().value_or(chunk.range.begin)));
    }
    leave(batch, choice);
  }

  // What the batch brought into memory goes: out of this process's mapping, and out of the page cache if that was
  // asked for.
  void leave(const Batch& batch, const Choice& choice) {
    const std::uint32_t source = layout_.chunks[batch.first].source;
    window_.give_up();
    lease_.reset();
    if (load_.trail() == nullptr || choice.path == Path::direct) return;
    share_.dropped_bytes += load_.trail()->give_up(
        source, {layout_.chunks[batch.first].range.begin, layout_.chunks[batch.last - 1].range.end});
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
      case Path::map: return asked_map(source);
      case Path::read: return {Path::read, PathReason::asked};
      case Path::direct:
        return can_direct(source) ? Choice{Path::direct, PathReason::asked} : fallback(PathReason::no_direct);
      case Path::automatic: break;
    }
    if (!looks_resident(from, {layout_.chunks[batch.first].range.begin, layout_.chunks[batch.last - 1].range.end}))
      return cold_choice(source);
    return {can_map(source) ? Path::map : Path::read, PathReason::resident};
  }

  [[nodiscard]] bool can_map(std::uint32_t source) {
    if (layout_.sources[source]->mapped().empty() || load_.handover() != nullptr) return false;
    lease_ = load_.lease(source);
    return lease_ != nullptr;
  }

  [[nodiscard]] Choice asked_map(std::uint32_t source) {
    if (layout_.sources[source]->mapped().empty()) return fallback(PathReason::access_read);
    if (load_.handover() != nullptr) return fallback(PathReason::far_destination);
    return can_map(source) ? Choice{Path::map, PathReason::asked} : fallback(PathReason::no_lease);
  }

  [[nodiscard]] Choice cold_choice(std::uint32_t source) {
    return can_direct(source) ? Choice{Path::direct, PathReason::not_resident}
                              : Choice{Path::read, PathReason::no_direct};
  }

  [[nodiscard]] bool looks_resident(const record::Source& source, Range range) {
    const mmap::File& file = *source.file();
    std::uint64_t pages = 0;
    std::uint64_t resident = 0;
    for (std::uint64_t at = range.begin; at < range.end; at += sample_step) {
      const std::uint64_t size = std::min(sample_bytes, range.end - at);
      const mmap::Residency sample = source.mapped().empty() ? mmap::residency(file, at, size)
                                                             : mmap::residency(source.mapped().subspan(at, size), file);
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

  // Fetches a chunk, and those of the batch that come with it: how many that was.
  std::uint32_t fetch(const Batch& batch, const Chunk& chunk, const Choice& choice) {
    const record::Source& source = *layout_.sources[chunk.source];
    if (source.file() == nullptr)
      take_memory(chunk, source);
    else if (choice.path == Path::map)
      take_mapped(batch, chunk, source, choice);
    else if (choice.path == Path::direct)
      return take_direct(batch, chunk, choice.reason);
    else
      take_read(chunk, *source.file(), choice);
    return 1;
  }

  void count(const Choice& choice, std::uint64_t bytes) {
    share_.bytes_read += bytes;
    add_use(share_.paths, {.path = choice.path, .reason = choice.reason, .bytes = bytes});
  }

  void take_memory(const Chunk& chunk, const record::Source& source) {
    const auto begin = std::chrono::steady_clock::now();
    const Bytes bytes = source.bytes(chunk.range.begin, chunk.range.size());
    const auto fetched = std::chrono::steady_clock::now();
    deliver(load_, chunk, chunk.range, bytes.span().data());
    share_.worker_fetch_seconds += std::chrono::duration<double>(fetched - begin).count();
    share_.worker_copy_seconds += seconds_since(fetched);
    count({Path::map, PathReason::in_memory}, needed_bytes(layout_, chunk));
  }

  void take_mapped(const Batch& batch, const Chunk& chunk, const record::Source& source, const Choice& choice) {
    if (!window_.reaches(chunk.range.end)) {
      const auto begin = std::chrono::steady_clock::now();
      if (!populate(batch, chunk, source)) return take_read(chunk, *source.file(), fallback(PathReason::no_populate));
      share_.worker_fetch_seconds += seconds_since(begin);
    }
    land_timed(chunk, chunk.range, source.mapped().data() + chunk.range.begin);
    count(choice, needed_bytes(layout_, chunk));
  }

  // Enters the chunk's pages, with those of the chunks that follow it as far as a window reaches. False where the
  // kernel cannot.
  bool populate(const Batch& batch, const Chunk& chunk, const record::Source& source) {
    window_.give_up();
    Range window = chunk.range;
    for (const Chunk* next = &chunk + 1; !chunk.sparse && next != layout_.chunks.data() + batch.last; ++next) {
      if (next->sparse || next->range.begin > window.end + Grain{}.gap ||
          next->range.end > window.begin + load_.budget().window_bytes)
        break;
      window.end = std::max(window.end, next->range.end);
    }
    window_.set(source.mapped(), window);
    const std::vector<Range> ranges = chunk.sparse ? needed_ranges(layout_, chunk, Grain{}.gap) : std::vector{window};
    const auto enter = [&](const Range& range) {
      return mmap::populate(source.mapped().subspan(range.begin, range.size()), *source.file());
    };
    const bool entered = std::all_of(ranges.begin(), ranges.end(), enter);
    if (!entered) window_.give_up();
    return entered;
  }

  std::uint32_t take_direct(const Batch& batch, const Chunk& chunk, PathReason reason) {
    if (!pump_) pump_.emplace(load_, share_);
    const DirectPump::Fed fed = pump_->feed({&chunk, layout_.chunks.data() + batch.last});
    count({Path::direct, reason}, fed.bytes);
    return static_cast<std::uint32_t>(fed.chunks);
  }

  void read(const mmap::File& file, Range range, std::byte* into) {
    const auto begin = std::chrono::steady_clock::now();
    file.read(range.begin, {into, range.size()});
    share_.worker_fetch_seconds += seconds_since(begin);
  }

  void take_read(const Chunk& chunk, const mmap::File& file, const Choice& choice) {
    if (chunk.plain)
      read_plain(chunk, file);
    else
      read_staged(chunk, file);
    count(choice, needed_bytes(layout_, chunk));
  }

  void read_staged(const Chunk& chunk, const mmap::File& file) {
    const std::span<std::byte> buffer = staging();
    if (!chunk.sparse)
      read(file, chunk.range, buffer.data());
    else
      for (const Range& range : needed_ranges(layout_, chunk, Grain{}.gap))
        read(file, range, buffer.data() + (range.begin - chunk.range.begin));
    land_timed(chunk, chunk.range, buffer.data());
  }

  // Straight to where the bytes belong, as far as parts go on where the last one ended on both sides; through the
  // buffer where that is not far.
  void read_plain(const Chunk& chunk, const mmap::File& file) {
    for (std::uint64_t at = chunk.range.begin; at < chunk.range.end;) {
      const Run run = load_.straight_run(chunk, at);
      const bool far = load_.handover() != nullptr && run.to == nullptr;
      if (far)
        at = read_far(chunk, file, at);
      else if (run.size >= worth_a_read)
        at = read_straight(chunk, file, at, run);
      else
        at = read_window(chunk, file, at);
    }
  }

  std::uint64_t read_straight(const Chunk& chunk, const mmap::File& file, std::uint64_t at, const Run& run) {
    const Range range{at, std::min(chunk.range.end, at + run.size)};
    read(file, range, run.to);
    load_.advance(range.size());
    return range.end;
  }

  std::uint64_t read_window(const Chunk& chunk, const mmap::File& file, std::uint64_t at) {
    const Range range{at, std::min(chunk.range.end, at + buffer_window)};
    read(file, range, staging().data());
    land_timed(chunk, range, staging().data());
    return range.end;
  }

  // Into a slot, which is what far memory is given.
  std::uint64_t read_far(const Chunk& chunk, const mmap::File& file, std::uint64_t at) {
    const Slots::Slot slot = load_.handover()->take_slot();
    const Range range{at, std::min(chunk.range.end, at + load_.budget().slot_bytes)};
    read(file, range, slot.get());
    load_.advance(load_.handover()->hand_over(load_, chunk, range, slot.get(), slot));
    return range.end;
  }

  void land_timed(const Chunk& chunk, Range range, const std::byte* bytes) {
    const auto begin = std::chrono::steady_clock::now();
    deliver(load_, chunk, range, bytes);
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
  std::shared_ptr<const mmap::Lease> lease_;  // held while a batch is copied from a mapping
  Window window_;
};

}  // namespace

void work(Load& load) { Worker(load).run(); }

}  // namespace heft::engine
