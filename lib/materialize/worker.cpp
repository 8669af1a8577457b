#include "materialize/worker.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "heft/error.hpp"
#include "kernels/gather.hpp"
#include "materialize/io/async_reader.hpp"
#include "materialize/io/buffered_reader.hpp"
#include "materialize/io/direct_reader.hpp"
#include "materialize/io/path_selector.hpp"
#include "materialize/memory/arena.hpp"
#include "mmap/mapping.hpp"
#include "mmap/pages.hpp"

namespace heft::engine {
namespace {

// Pages of a mapping that a worker copies from. The destructor drops them, so that an exception leaves none.
class Window {
 public:
  ~Window() { drop(); }
  void set(std::span<const std::byte> mapped, Range range) noexcept {
    mapped_ = mapped.subspan(range.begin, range.size());
    end_ = range.end;
  }
  /// Returns true if the window contains the bytes before `end`: chunks come in order.
  [[nodiscard]] bool reaches(std::uint64_t end) const noexcept { return end <= end_; }
  /// Drops whole pages around the window: neighbouring windows meet inside a page, which would stay if each dropped
  /// only the pages inside itself.
  void drop() noexcept {
    mmap::drop(mmap::pages_around(mapped_, mmap::page_size()));
    mapped_ = {};
    end_ = 0;
  }

 private:
  std::span<const std::byte> mapped_;
  std::uint64_t end_ = 0;
};

class BatchWorker final : public Worker {
 public:
  explicit BatchWorker(const WorkerSetup& setup) noexcept
      : setup_(setup),
        schedule_(setup.schedule),
        sink_(setup.sink),
        monitor_(setup.monitor),
        buffered_({setup.schedule, setup.sink, setup.monitor, setup.memory.take_buffer()}, share_),
        selector_({setup.schedule, setup.sources, setup.sink, setup.monitor}, setup.io_method, share_) {}

  bool step(BatchQueue& batches) override {
    const std::optional<Batch> batch = batches.next();
    if (!batch) return false;
    // The batch goes back when there is no room: the caller is the consumer, who frees room by taking tensors, so that
    // a wait in this place would never end.
    const std::size_t done = has_room(*batch) ? take(*batch) : 0;
    if (done < schedule_.chunks_of(*batch).size()) batches.put_back(rest_of(*batch, done));
    return true;
  }

  void run(BatchQueue& batches) override {
    while (std::optional<Batch> batch = batches.next())
      // take() ends at the first chunk without room. The rest begins a new take(), which selects its path anew: the
      // page cache may have changed during the wait.
      while (batch->first != batch->last && await_room(*batch)) *batch = rest_of(*batch, take(*batch));
  }

  void finish() override {
    // Reads in flight belong to chunks that were counted as taken: they are written before this worker's share is
    // added.
    if (direct_reader_) direct_reader_->drain();
    if (async_reader_) async_reader_->drain();
    monitor_.add_stats(share_);
  }

 private:
  // Returns the batch without its first `done` chunks.
  static Batch rest_of(const Batch& batch, std::size_t done) noexcept {
    Batch rest = batch;
    rest.first = ChunkIndex{static_cast<std::uint32_t>(position(batch.first) + done)};
    return rest;
  }

  // Returns true if the batch can begin. Before it returns false, everything that was fetched is written: tensors that
  // wait only for these bytes may free the room.
  bool has_room(const Batch& batch) {
    const Chunk& first = schedule_.chunks_of(batch).front();
    if (sink_.enter(first)) return true;
    if (direct_reader_) direct_reader_->drain();
    if (async_reader_) async_reader_->drain();
    return sink_.enter(first);
  }

  // Waits for room. Returns false if there will be none, since the load has failed. Throws Error{cancelled} after a
  // stop request.
  bool await_room(const Batch& batch) {
    if (has_room(batch)) return true;
    const Chunk& first = schedule_.chunks_of(batch).front();
    // A loop: another worker may use the room between the end of the wait and enter().
    while (sink_.await_room(first))
      if (sink_.enter(first)) return true;
    // The wait ends for a stop request and for a failure of another worker alike. Only the first is this worker's to
    // report.
    monitor_.check_stop();
    return false;
  }

  // Fetches the chunks of a batch up to the first that has no room, and returns their number. Requires that the first
  // one has room. When it returns, nothing of the batch is mapped and its file has no lease, because the worker may
  // have to wait.
  std::size_t take(const Batch& batch) {
    const std::span<const Chunk> chunks = schedule_.chunks_of(batch);
    std::size_t done = 0;
    std::size_t number = 0;
    Selected selected;
    try {
      selected = selector_.choose(batch);
      // Queued requests are sent before the worker turns to another path, so that the device works on them meanwhile.
      if (direct_reader_ && selected.method != IoMethod::direct) direct_reader_->flush();
      while (done < chunks.size() && sink_.enter(chunks[done])) {
        // The chunk that an error is about: during the fetch the first of those that come together, after it the last
        // of them, which may end the proof of its source.
        number = done;
        monitor_.check_stop();
        done += fetch(batch, chunks[number], selected);
        number = done - 1;
        if (ends_proof(schedule_, chunks, number)) prove(chunks[number]);
      }
    } catch (const Error& error) {
      // A stop request is about the load as a whole: it gets no file and no tensor.
      if (error.code() == ErrorCode::cancelled) throw;
      throw setup_.errors.about(error, chunks[number], error.offset().value_or(chunks[number].range.begin));
    }
    release(batch, selected);
    return done;
  }

  // Releases the pages that the batch populated: from the mapping of this process, and from the page cache where
  // drop_page_cache is set.
  void release(const Batch& batch, const Selected& selected) {
    const std::span<const Chunk> chunks = schedule_.chunks_of(batch);
    const SourceIndex source = chunks.front().source;
    window_.drop();
    // The window was dropped before the eviction below: the kernel evicts no page that a process maps. A direct read
    // has left nothing in the page cache.
    selector_.release();
    if (setup_.cleanup == nullptr || selected.method == IoMethod::direct) return;
    share_.dropped_bytes += setup_.cleanup->evict(source, range_of(chunks));
  }

  // Fetches a chunk, and those of the batch that come with it. Returns their number.
  std::size_t fetch(const Batch& batch, const Chunk& chunk, const Selected& of_batch) {
    const record::Source& source = schedule_.source(chunk.source);
    const Selected selected = selector_.of_chunk(chunk, of_batch);
    // A repeating chunk reads bytes that were counted with the chunk before. The direct reader counts such bytes
    // itself.
    if (chunk.repeats && selected.method != IoMethod::direct) share_.over_read += chunk.range.size();
    const record::Source::Kind kind = source.kind();
    if (kind == record::Source::Kind::requested) return take_requested(batch, chunk, selected);
    // An ascending source whose chunks step back has been inflated whole: it is memory then.
    if (kind == record::Source::Kind::made && !batch.steps_back)
      take_made(chunk, selected);
    else if (kind != record::Source::Kind::file)
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

  // Returns the chunk and those that follow it in its batch and group: all of them have room when it has.
  [[nodiscard]] std::span<const Chunk> of_group(const Batch& batch, const Chunk& chunk) const noexcept {
    const auto differs = [&](const Chunk& other) { return other.group != chunk.group; };
    return {&chunk, std::find_if(&chunk, past_last(batch), differs)};
  }

  void count(const Selected& selected, std::uint64_t bytes) {
    share_.bytes_read += bytes;
    add_use(share_.io_uses, {.method = selected.method, .reason = selected.reason, .bytes = bytes});
  }

  void take_memory(const Chunk& chunk, const record::Source& source) {
    const auto begin = std::chrono::steady_clock::now();
    // The first call on a source that is inflated whole inflates it, which counts as fetching; later calls cost
    // nothing.
    const Bytes bytes = source.bytes(chunk.range.begin, chunk.range.size());
    const auto fetched = std::chrono::steady_clock::now();
    sink_.write(chunk, chunk.range, bytes.span().data());
    share_.worker_fetch_seconds += std::chrono::duration<double>(fetched - begin).count();
    share_.worker_copy_seconds += seconds_since(fetched);
    count({IoMethod::map, IoReason::in_memory}, needed_bytes(schedule_, chunk));
  }

  void take_made(const Chunk& chunk, const Selected& selected) {
    buffered_.make(chunk, reader_of(chunk.source));
    count(selected, needed_bytes(schedule_, chunk));
  }

  record::SourceReader& reader_of(SourceIndex source) {
    // A reader keeps its place in the stream: the chunks of a batch, in file order, inflate each byte once.
    if (!reader_ || reader_source_ != source) reader_ = schedule_.source(source).reader(kernels::gather_run);
    reader_source_ = source;
    return *reader_;
  }

  // The end of an ascending source proves the bytes that were read of it: none of them is handed out before. A later
  // batch that continues behind proved bytes reads these a second time, and is not asked for a proof again.
  void prove(const Chunk& last) {
    if (reader_) {
      const auto begin = std::chrono::steady_clock::now();
      reader_->finish();
      reader_.reset();
      share_.worker_fetch_seconds += seconds_since(begin);
    }
    sink_.proved(last);
  }

  void take_read(const Chunk& chunk, const mmap::File& file, const Selected& selected) {
    buffered_.read(chunk, file);
    count(selected, needed_bytes(schedule_, chunk));
  }

  void take_mapped(const Batch& batch, const Chunk& chunk, const record::Source& source, const Selected& selected) {
    if (!window_.reaches(chunk.range.end)) {
      const auto begin = std::chrono::steady_clock::now();
      // The pages are entered by one call, which reports errors, before they are touched: a touch reports them as
      // SIGBUS. A kernel without that call leaves reading into a buffer.
      if (!populate(batch, chunk, source, selected)) {
        monitor_.note("madvise(MADV_POPULATE_READ): refused");
        return take_read(chunk, *source.file(), selector_.fallback(IoReason::no_populate));
      }
      share_.worker_fetch_seconds += seconds_since(begin);
    }
    write_timed(chunk, chunk.range, source.mapped().data() + chunk.range.begin);
    count(selected, needed_bytes(schedule_, chunk));
  }

  // Enters the chunk's pages, with those of the chunks that follow it as far as a window reaches. Returns false if the
  // kernel cannot.
  bool populate(const Batch& batch, const Chunk& chunk, const record::Source& source, const Selected& selected) {
    window_.drop();
    Range window = chunk.range;
    // One call for several chunks: each costs an interrupt of every processor when its window is given up. A sparse
    // chunk ends the window, since only its runs are entered.
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
    // The ranges before the one that was refused have been entered.
    if (!entered) window_.drop();
    return entered;
  }

  std::size_t take_direct(const Batch& batch, const Chunk& chunk, IoReason reason) {
    // Made by the first direct read: a load from the page cache needs neither its ring nor its queue.
    if (!direct_reader_)
      direct_reader_.emplace(DirectReader::Setup{schedule_, sink_, monitor_, setup_.errors, setup_.budget}, share_);
    const Submitted submitted = direct_reader_->submit(of_group(batch, chunk), selector_.direct_file());
    count({IoMethod::direct, reason}, submitted.bytes);
    return submitted.chunks;
  }

  std::size_t take_requested(const Batch& batch, const Chunk& chunk, const Selected& selected) {
    // Like the direct reader, made by the first chunk that needs it.
    if (!async_reader_)
      async_reader_.emplace(AsyncReader::Setup{.schedule = schedule_,
                                               .sink = sink_,
                                               .monitor = monitor_,
                                               .errors = setup_.errors,
                                               .gate = setup_.sources.requests(),
                                               .ring_bytes = setup_.budget.request_bytes,
                                               .max_staging_buffers = setup_.budget.buffers_a_worker},
                            share_);
    const Submitted submitted = async_reader_->submit(of_group(batch, chunk));
    count(selected, submitted.bytes);
    return submitted.chunks;
  }

  void write_timed(const Chunk& chunk, Range range, const std::byte* bytes) {
    const auto begin = std::chrono::steady_clock::now();
    sink_.write(chunk, range, bytes);
    share_.worker_copy_seconds += seconds_since(begin);
  }

  const WorkerSetup& setup_;
  const Schedule& schedule_;
  ChunkSink& sink_;
  LoadMonitor& monitor_;
  LoadStats share_;
  BufferedReader buffered_;
  std::optional<DirectReader> direct_reader_;
  std::optional<AsyncReader> async_reader_;
  std::unique_ptr<record::SourceReader> reader_;  // of the source that was read last
  SourceIndex reader_source_ = {};
  PathSelector selector_;
  Window window_;
};

}  // namespace

std::unique_ptr<Worker> make_worker(const WorkerSetup& setup) { return std::make_unique<BatchWorker>(setup); }

}  // namespace heft::engine
