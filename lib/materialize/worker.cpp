#include "materialize/worker.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "heft/error.hpp"
#include "kernels/gather.hpp"
#include "materialize/io/direct_reader.hpp"
#include "materialize/io/path_selector.hpp"
#include "materialize/memory/arena.hpp"
#include "mmap/mapping.hpp"
#include "mmap/pages.hpp"

namespace heft::engine {
namespace {

// A window this small stays in the second-level cache while it passes through a buffer.
constexpr std::uint64_t buffer_window = 128u << 10;

// Pages of a mapping that are being copied from; given up when that is over, however it ends.
class Window {
 public:
  ~Window() { drop(); }
  void set(std::span<const std::byte> mapped, Range range) noexcept {
    mapped_ = mapped.subspan(range.begin, range.size());
    end_ = range.end;
  }
  /// Whether the window has the bytes before `end`, of those that come in order.
  [[nodiscard]] bool reaches(std::uint64_t end) const noexcept { return end <= end_; }
  /// Gives up whole pages around: windows meet inside pages, and those that only one of them gave up would stay.
  void drop() noexcept {
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
  explicit Worker(const WorkerSetup& setup) noexcept
      : setup_(setup),
        schedule_(setup.schedule),
        sink_(setup.sink),
        monitor_(setup.monitor),
        selector_({setup.schedule, setup.sources, setup.sink, setup.monitor}, setup.io_method, share_) {}

  void run(BatchQueue& batches) {
    while (const Batch* batch = batches.next()) take(*batch);
    if (direct_reader_) direct_reader_->drain();
    monitor_.add_stats(share_);
  }

 private:
  void take(const Batch& batch) {
    const std::span<const Chunk> chunks = schedule_.chunks_of(batch);
    std::size_t number = 0;
    Selected selected;
    try {
      selected = selector_.choose(batch);
      if (direct_reader_ && selected.method != IoMethod::direct) direct_reader_->flush();
      while (number < chunks.size()) {
        monitor_.check_stop();
        number += fetch(batch, chunks[number], selected);
      }
      number = chunks.size() - 1;
      finish_reader();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::cancelled) throw;
      throw setup_.errors.about(error, chunks[number], error.offset().value_or(chunks[number].range.begin));
    }
    release(batch, selected);
  }

  // Releases the pages that the batch populated: from the mapping of this process, and from the page cache where
  // drop_page_cache is set.
  void release(const Batch& batch, const Selected& selected) {
    const std::span<const Chunk> chunks = schedule_.chunks_of(batch);
    const SourceIndex source = chunks.front().source;
    window_.drop();
    selector_.release();
    if (setup_.cleanup == nullptr || selected.method == IoMethod::direct) return;
    share_.dropped_bytes += setup_.cleanup->evict(source, range_of(chunks));
  }

  // Fetches a chunk, and those of the batch that come with it: how many that was.
  std::size_t fetch(const Batch& batch, const Chunk& chunk, const Selected& of_batch) {
    const record::Source& source = schedule_.source(chunk.source);
    const Selected selected = selector_.of_chunk(chunk, of_batch);
    if (chunk.repeats && selected.method != IoMethod::direct) share_.over_read += chunk.range.size();
    if ((source.kind() == record::Source::Kind::made) && !batch.steps_back)
      take_made(chunk, selected);
    else if (source.file() == nullptr)
      take_memory(chunk, source);
    else if (selected.method == IoMethod::map)
      take_mapped(batch, chunk, source, selected);
    else if (selected.method == IoMethod::direct)
      return take_direct(batch, chunk, selected.reason);
    else
      take_read(chunk, *source.file(), selected);
    return 1;
  }

  [[nodiscard]] const Chunk* past_last(const Batch& batch) const noexcept {
    const std::span<const Chunk> chunks = schedule_.chunks_of(batch);
    return chunks.data() + chunks.size();
  }

  void count(const Selected& selected, std::uint64_t bytes) {
    share_.bytes_read += bytes;
    add_use(share_.io_uses, {.method = selected.method, .reason = selected.reason, .bytes = bytes});
  }

  void take_memory(const Chunk& chunk, const record::Source& source) {
    const auto begin = std::chrono::steady_clock::now();
    const Bytes bytes = source.bytes(chunk.range.begin, chunk.range.size());
    const auto fetched = std::chrono::steady_clock::now();
    sink_.write(chunk, chunk.range, bytes.span().data());
    share_.worker_fetch_seconds += std::chrono::duration<double>(fetched - begin).count();
    share_.worker_copy_seconds += seconds_since(fetched);
    count({IoMethod::map, IoReason::in_memory}, needed_bytes(schedule_, chunk));
  }

  // Inflated, or gathered from numbers: straight to where it belongs, as far as nothing else is to be done.
  void take_made(const Chunk& chunk, const Selected& selected) {
    record::SourceReader& reader = reader_of(chunk.source);
    if (!chunk.contiguous)
      make_converted(chunk, reader);
    else
      for (const Part& part : schedule_.parts_of(chunk)) make_contiguous(chunk, part, reader);
    count(selected, needed_bytes(schedule_, chunk));
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

  void make_contiguous(const Chunk& chunk, const Part& part, record::SourceReader& reader) {
    std::byte* const to = sink_.in_place_run(chunk, part.from).to;
    if (to != nullptr) {
      make(reader, {part.from, part.from_end}, to);
      return monitor_.advance(part.from_end - part.from);
    }
    const std::span<std::byte> into = buffer();
    for (std::uint64_t at = part.from; at < part.from_end; at += into.size()) {
      const Range range{at, std::min(part.from_end, at + into.size())};
      make(reader, range, into.data());
      write_timed(chunk, range, into.data());
    }
  }

  void make_converted(const Chunk& chunk, record::SourceReader& reader) {
    const std::span<std::byte> into = buffer();
    const std::vector<Range> ranges =
        chunk.sparse ? needed_ranges(schedule_, chunk, ChunkSizes{}.gap) : std::vector{chunk.range};
    for (const Range& range : ranges) make(reader, range, into.data() + (range.begin - chunk.range.begin));
    write_timed(chunk, chunk.range, into.data());
  }

  void take_mapped(const Batch& batch, const Chunk& chunk, const record::Source& source, const Selected& selected) {
    if (!window_.reaches(chunk.range.end)) {
      const auto begin = std::chrono::steady_clock::now();
      if (!populate(batch, chunk, source, selected)) {
        monitor_.note("madvise(MADV_POPULATE_READ): refused");
        return take_read(chunk, *source.file(), selector_.fallback(IoReason::no_populate));
      }
      share_.worker_fetch_seconds += seconds_since(begin);
    }
    write_timed(chunk, chunk.range, source.mapped().data() + chunk.range.begin);
    count(selected, needed_bytes(schedule_, chunk));
  }

  // Enters the chunk's pages, with those of the chunks that follow it as far as a window reaches. False where the
  // kernel cannot.
  bool populate(const Batch& batch, const Chunk& chunk, const record::Source& source, const Selected& selected) {
    window_.drop();
    Range window = chunk.range;
    for (const Chunk* next = &chunk + 1; !chunk.sparse && next != past_last(batch); ++next) {
      if (next->sparse || selector_.of_chunk(*next, selected).method != IoMethod::map ||
          next->range.begin > window.end + ChunkSizes{}.gap ||
          next->range.end > window.begin + setup_.budget.window_bytes)
        break;
      window.end = std::max(window.end, next->range.end);
    }
    window_.set(source.mapped(), window);
    const std::vector<Range> ranges =
        chunk.sparse ? needed_ranges(schedule_, chunk, ChunkSizes{}.gap) : std::vector{window};
    const auto enter = [&](const Range& range) {
      return mmap::populate(source.mapped().subspan(range.begin, range.size()), *source.file());
    };
    const bool entered = std::all_of(ranges.begin(), ranges.end(), enter);
    if (!entered) window_.drop();
    return entered;
  }

  std::size_t take_direct(const Batch& batch, const Chunk& chunk, IoReason reason) {
    if (!direct_reader_)
      direct_reader_.emplace(
          DirectReader::Setup{schedule_, sink_, monitor_, setup_.errors, ring(), setup_.budget.buffers_a_worker},
          share_);
    const DirectReader::Submitted submitted =
        direct_reader_->submit({&chunk, past_last(batch)}, selector_.direct_file());
    count({IoMethod::direct, reason}, submitted.bytes);
    return submitted.chunks;
  }

  void read(const mmap::File& file, Range range, std::byte* into) {
    const auto begin = std::chrono::steady_clock::now();
    file.read(range.begin, {into, range.size()});
    share_.worker_fetch_seconds += seconds_since(begin);
  }

  void take_read(const Chunk& chunk, const mmap::File& file, const Selected& selected) {
    if (chunk.contiguous)
      read_contiguous(chunk, file);
    else
      read_converted(chunk, file);
    count(selected, needed_bytes(schedule_, chunk));
  }

  void read_converted(const Chunk& chunk, const mmap::File& file) {
    const std::span<std::byte> into = buffer();
    if (!chunk.sparse)
      read(file, chunk.range, into.data());
    else
      for (const Range& range : needed_ranges(schedule_, chunk, ChunkSizes{}.gap))
        read(file, range, into.data() + (range.begin - chunk.range.begin));
    write_timed(chunk, chunk.range, into.data());
  }

  // To where the bytes belong, as far as parts continue each other on both sides; through the buffer where that is not
  // far, and through a staging buffer to device memory.
  void read_contiguous(const Chunk& chunk, const mmap::File& file) {
    for (std::uint64_t at = chunk.range.begin; at < chunk.range.end;) {
      const InPlaceRun run = sink_.in_place_run(chunk, at);
      if (run.to == nullptr && sink_.staging() != nullptr)
        at = read_staged(chunk, file, at);
      else if (run.size >= min_read_bytes)
        at = read_in_place(chunk, file, at, run);
      else
        at = read_buffered(chunk, file, at);
    }
  }

  std::uint64_t read_in_place(const Chunk& chunk, const mmap::File& file, std::uint64_t at, const InPlaceRun& run) {
    const Range range{at, std::min(chunk.range.end, at + run.size)};
    read(file, range, run.to);
    monitor_.advance(range.size());
    return range.end;
  }

  std::uint64_t read_buffered(const Chunk& chunk, const mmap::File& file, std::uint64_t at) {
    const std::span<std::byte> into = buffer();
    const Range range{at, std::min(chunk.range.end, at + std::min<std::uint64_t>(buffer_window, into.size()))};
    read(file, range, into.data());
    write_timed(chunk, range, into.data());
    return range.end;
  }

  std::uint64_t read_staged(const Chunk& chunk, const mmap::File& file, std::uint64_t at) {
    const StagingBuffer staged = sink_.staging()->take();
    const Range range{at, std::min(chunk.range.end, at + sink_.staging()->buffer_bytes())};
    read(file, range, staged.get());
    sink_.forward(chunk, range, staged.get(), staged);
    return range.end;
  }

  void write_timed(const Chunk& chunk, Range range, const std::byte* bytes) {
    const auto begin = std::chrono::steady_clock::now();
    sink_.write(chunk, range, bytes);
    share_.worker_copy_seconds += seconds_since(begin);
  }

  [[nodiscard]] std::span<std::byte> buffer() {
    if (!buffer_) buffer_ = Arena::allocate(std::max<std::uint64_t>(setup_.budget.buffer_bytes, 4096), 4096);
    return buffer_->span();
  }

  [[nodiscard]] std::shared_ptr<Arena> ring() const {
    const std::uint64_t size = sink_.staging() == nullptr ? setup_.budget.ring_bytes : setup_.budget.device_ring_bytes;
    return setup_.rings == nullptr ? Arena::allocate(size, Arena::huge_page)
                                   : setup_.rings->take(size, Arena::huge_page);
  }

  const WorkerSetup& setup_;
  const Schedule& schedule_;
  ChunkSink& sink_;
  LoadMonitor& monitor_;
  LoadStats share_;
  std::shared_ptr<Arena> buffer_;
  std::optional<DirectReader> direct_reader_;
  std::unique_ptr<record::SourceReader> reader_;  // of what was made last
  SourceIndex reader_source_ = {};
  PathSelector selector_;
  Window window_;
};

}  // namespace

void work(const WorkerSetup& setup, BatchQueue& batches) { Worker(setup).run(batches); }

}  // namespace heft::engine
