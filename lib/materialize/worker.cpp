// One thread's part of a load: takes batches, has a path chosen for each, and fetches and lands their chunks.
#include <algorithm>
#include <optional>

#include "heft/error.hpp"
#include "materialize/memory/arena.hpp"
#include "kernels/gather.hpp"
#include "materialize/sink/host_sink.hpp"
#include "materialize/pipeline.hpp"
#include "materialize/io/direct_reader.hpp"
#include "materialize/io/path_selector.hpp"
#include "mmap/mapping.hpp"
#include "mmap/pages.hpp"

namespace heft::engine {
namespace {

// What passes through a buffer stays in the second-level cache.
constexpr std::uint64_t buffer_window = 128u << 10;

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
    mmap::drop(mmap::pages_around(mapped_, mmap::page_size()));
    mapped_ = {};
    end_ = 0;
  }

 private:
  std::span<const std::byte> mapped_;
  std::uint64_t end_ = 0;
};

class Worker {
 public:
  explicit Worker(Load& load) noexcept : load_(load), schedule_(load.schedule()), router_(load, share_) {}

  void run() {
    while (const Batch* batch = load_.next_batch()) take(*batch);
    if (pump_) pump_->drain();
    load_.add_stats(share_);
  }

 private:
  void take(const Batch& batch) {
    const std::span<const Chunk> chunks = schedule_.chunks_of(batch);
    std::size_t number = 0;
    Route route;
    try {
      route = router_.choose(batch);
      if (pump_ && route.path != Path::direct) pump_->flush();
      while (number < chunks.size()) {
        load_.check_stop();
        number += fetch(batch, chunks[number], route);
      }
      number = chunks.size() - 1;
      finish_reader();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::cancelled) throw;
      const Chunk& chunk = chunks[number];
      throw error.with_path(schedule_.source(chunk.source).path())
          .with_tensor(load_.tensor_of(chunk, error.offset().value_or(chunk.range.begin)));
    }
    leave(batch, route);
  }

  // What the batch brought into memory goes: out of this process's mapping, and out of the page cache if that was
  // asked for.
  void leave(const Batch& batch, const Route& route) {
    const std::span<const Chunk> chunks = schedule_.chunks_of(batch);
    const SourceIndex source = chunks.front().source;
    window_.give_up();
    router_.leave();
    if (load_.trail() == nullptr || route.path == Path::direct) return;
    share_.dropped_bytes += load_.trail()->give_up(source, range_of(chunks));
  }

  // Fetches a chunk, and those of the batch that come with it: how many that was.
  std::size_t fetch(const Batch& batch, const Chunk& chunk, const Route& of_batch) {
    const record::Source& source = schedule_.source(chunk.source);
    const Route route = router_.of_chunk(chunk, of_batch);
    if (chunk.repeats && route.path != Path::direct) share_.over_read += chunk.range.size();
    if (source.is_made() && !batch.steps_back)
      take_made(chunk, route);
    else if (source.file() == nullptr)
      take_memory(chunk, source);
    else if (route.path == Path::map)
      take_mapped(batch, chunk, source, route);
    else if (route.path == Path::direct)
      return take_direct(batch, chunk, route.reason);
    else
      take_read(chunk, *source.file(), route);
    return 1;
  }

  [[nodiscard]] const Chunk* past_last(const Batch& batch) const noexcept {
    const std::span<const Chunk> chunks = schedule_.chunks_of(batch);
    return chunks.data() + chunks.size();
  }

  void count(const Route& route, std::uint64_t bytes) {
    share_.bytes_read += bytes;
    add_use(share_.paths, {.path = route.path, .reason = route.reason, .bytes = bytes});
  }

  void take_memory(const Chunk& chunk, const record::Source& source) {
    const auto begin = std::chrono::steady_clock::now();
    const Bytes bytes = source.bytes(chunk.range.begin, chunk.range.size());
    const auto fetched = std::chrono::steady_clock::now();
    deliver(load_, chunk, chunk.range, bytes.span().data());
    share_.worker_fetch_seconds += std::chrono::duration<double>(fetched - begin).count();
    share_.worker_copy_seconds += seconds_since(fetched);
    count({Path::map, PathReason::in_memory}, needed_bytes(schedule_, chunk));
  }

  // Inflated, or gathered from numbers: straight to where it belongs, as far as nothing else is to be done.
  void take_made(const Chunk& chunk, const Route& route) {
    record::SourceReader& reader = reader_of(chunk.source);
    if (!chunk.contiguous)
      make_staged(chunk, reader);
    else
      for (const Part& part : schedule_.parts_of(chunk)) make_plain(chunk, part, reader);
    count(route, needed_bytes(schedule_, chunk));
  }

  record::SourceReader& reader_of(SourceIndex source) {
    if (!reader_ || reader_source_ != source) reader_ = schedule_.source(source).reader(kernels::gather_run);
    reader_source_ = source;
    return *reader_;
  }

  // The end of an ascending source proves what was read of it: nothing of the load is handed out before.
  void finish_reader() {
    if (!reader_ || schedule_.source(reader_source_).order() != record::Source::Order::ascending) return;
    const auto begin = std::chrono::steady_clock::now();
    reader_->finish();
    reader_.reset();
    share_.worker_fetch_seconds += seconds_since(begin);
  }

  void make(record::SourceReader& reader, Range range, std::byte* into) {
    const auto begin = std::chrono::steady_clock::now();
    reader.read(range.begin, {into, range.size()});
    share_.worker_fetch_seconds += seconds_since(begin);
  }

  void make_plain(const Chunk& chunk, const Part& part, record::SourceReader& reader) {
    std::byte* const base = load_.target(part).base;
    const bool far = load_.handover() != nullptr && base == nullptr;
    const std::uint64_t step = far ? staging().size() : part.from_end - part.from;
    for (std::uint64_t at = part.from; at < part.from_end; at += step) {
      const Range range{at, std::min(part.from_end, at + step)};
      make(reader, range, far ? staging().data() : base + part.to + (at - part.from));
      if (far)
        land_timed(chunk, range, staging().data());
      else
        load_.advance(range.size());
    }
  }

  void make_staged(const Chunk& chunk, record::SourceReader& reader) {
    const std::span<std::byte> buffer = staging();
    const std::vector<Range> ranges =
        chunk.sparse ? needed_ranges(schedule_, chunk, ChunkSizes{}.gap) : std::vector{chunk.range};
    for (const Range& range : ranges) make(reader, range, buffer.data() + (range.begin - chunk.range.begin));
    land_timed(chunk, chunk.range, buffer.data());
  }

  void take_mapped(const Batch& batch, const Chunk& chunk, const record::Source& source, const Route& route) {
    if (!window_.reaches(chunk.range.end)) {
      const auto begin = std::chrono::steady_clock::now();
      if (!populate(batch, chunk, source, route)) {
        load_.note("madvise(MADV_POPULATE_READ): refused");
        return take_read(chunk, *source.file(), router_.fallback(PathReason::no_populate));
      }
      share_.worker_fetch_seconds += seconds_since(begin);
    }
    land_timed(chunk, chunk.range, source.mapped().data() + chunk.range.begin);
    count(route, needed_bytes(schedule_, chunk));
  }

  // Enters the chunk's pages, with those of the chunks that follow it as far as a window reaches. False where the
  // kernel cannot.
  bool populate(const Batch& batch, const Chunk& chunk, const record::Source& source, const Route& route) {
    window_.give_up();
    Range window = chunk.range;
    for (const Chunk* next = &chunk + 1; !chunk.sparse && next != past_last(batch); ++next) {
      if (next->sparse || router_.of_chunk(*next, route).path != Path::map ||
          next->range.begin > window.end + ChunkSizes{}.gap ||
          next->range.end > window.begin + load_.budget().window_bytes)
        break;
      window.end = std::max(window.end, next->range.end);
    }
    window_.set(source.mapped(), window);
    const std::vector<Range> ranges = chunk.sparse ? needed_ranges(schedule_, chunk, ChunkSizes{}.gap) : std::vector{window};
    const auto enter = [&](const Range& range) {
      return mmap::populate(source.mapped().subspan(range.begin, range.size()), *source.file());
    };
    const bool entered = std::all_of(ranges.begin(), ranges.end(), enter);
    if (!entered) window_.give_up();
    return entered;
  }

  std::size_t take_direct(const Batch& batch, const Chunk& chunk, PathReason reason) {
    if (!pump_) pump_.emplace(load_, share_);
    const DirectPump::Fed fed = pump_->feed({&chunk, past_last(batch)}, router_.direct_file());
    count({Path::direct, reason}, fed.bytes);
    return fed.chunks;
  }

  void read(const mmap::File& file, Range range, std::byte* into) {
    const auto begin = std::chrono::steady_clock::now();
    file.read(range.begin, {into, range.size()});
    share_.worker_fetch_seconds += seconds_since(begin);
  }

  void take_read(const Chunk& chunk, const mmap::File& file, const Route& route) {
    if (chunk.contiguous)
      read_plain(chunk, file);
    else
      read_staged(chunk, file);
    count(route, needed_bytes(schedule_, chunk));
  }

  void read_staged(const Chunk& chunk, const mmap::File& file) {
    const std::span<std::byte> buffer = staging();
    if (!chunk.sparse)
      read(file, chunk.range, buffer.data());
    else
      for (const Range& range : needed_ranges(schedule_, chunk, ChunkSizes{}.gap))
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
      else if (run.size >= min_read_bytes)
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
    const Range range{at, std::min(chunk.range.end, at + std::min<std::uint64_t>(buffer_window, staging().size()))};
    read(file, range, staging().data());
    land_timed(chunk, range, staging().data());
    return range.end;
  }

  // Into a slot, which is what far memory is given.
  std::uint64_t read_far(const Chunk& chunk, const mmap::File& file, std::uint64_t at) {
    const Slots::Slot slot = load_.handover()->take_slot();
    const Range range{at, std::min(chunk.range.end, at + load_.budget().staging_buffer_bytes)};
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
    if (!staging_) staging_ = Arena::allocate(std::max<std::uint64_t>(load_.budget().buffer_bytes, 4096), 4096);
    return staging_->span();
  }

  Load& load_;
  const Schedule& schedule_;
  LoadStats share_;
  std::shared_ptr<Arena> staging_;
  std::optional<DirectPump> pump_;
  std::unique_ptr<record::SourceReader> reader_;  // of what was made last
  SourceIndex reader_source_ = {};
  Router router_;
  Window window_;
};

}  // namespace

void work(Load& load) { Worker(load).run(); }

}  // namespace heft::engine
