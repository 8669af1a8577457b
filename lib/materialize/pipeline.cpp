#include "materialize/pipeline.hpp"

#include <stop_token>

#include <fmt/format.h>

#include "heft/error.hpp"
#include "materialize/thread_pool.hpp"
#include "materialize/workers_state.hpp"

namespace heft::engine {

Pipeline::Pipeline(const Load& load)
    : load_(load),
      workers_(load.options.workers),
      errors_(load.plan, load.schedule),
      sources_(load.schedule, load.monitor),
      batches_(load.schedule, load.monitor) {
  if (load.options.drop_page_cache) {
    // Before the first read: pages that are resident now belong to other users of the files, and stay.
    before_ = PageSnapshot::of_chunks(load.schedule);
    cleanup_.emplace(load.schedule, before_);
  }
  setup_.emplace(WorkerSetup{.schedule = load_.schedule,
                             .budget = load_.budget,
                             .io_method = load_.options.io_method,
                             .errors = errors_,
                             .sources = sources_,
                             .sink = load_.sink,
                             .monitor = load_.monitor,
                             .cleanup = cleanup_ ? &*cleanup_ : nullptr,
                             .memory = load_.memory});
}

LoadStats Pipeline::run() {
  begin();
  return end(run_workers_to_end());
}

bool Pipeline::step() {
  try {
    if (!stepping_) {
      begin();
      stepping_ = make_worker(*setup_);
    }
    if (stepping_->step(batches_)) return true;
    stepping_->finish();
  } catch (...) {
    // The monitor keeps the failure. finish() throws it, after everything that was started has ended.
    load_.monitor.fail();
  }
  return false;
}

LoadStats Pipeline::finish() {
  // The worker's destructor waits for its reads in flight, also after a failure: end() requires that none is left.
  stepping_.reset();
  return end(1);
}

void Pipeline::begin() {
  begin_ = std::chrono::steady_clock::now();
  load_.monitor.check_stop();
  // A file that was changed since open() is refused before a byte of it is moved; end() compares once more.
  sources_.require_unchanged();
  no_read_ahead_.emplace(cleanup_ ? &*cleanup_ : nullptr);
  // A request in a source of the caller's may wait for a server: the stop request is passed on to it at once.
  stop_requests_.emplace(load_.options.stop, [this] { sources_.requests().stop(); });
}

LoadStats Pipeline::end(unsigned threads) {
  // Waits for the writes that were started, also after a failure: they read from the staging buffers.
  if (StagingPool* const staging = load_.sink.staging()) staging->await_all();
  // Evicts the pages that the workers' own evictions left, which were read ahead of them. Reading ahead is off until
  // this is over, so that none arrives afterwards.
  const std::uint64_t dropped = cleanup_ ? cleanup_->evict_all() : 0;
  no_read_ahead_.reset();
  stop_requests_.reset();
  // All steps before this line are for failures too: no read, no write and no setting of a descriptor outlasts the
  // load.
  require_success();
  // The full amount is reported only after the files were compared: to the caller it means that the load has succeeded.
  load_.monitor.report_now();
  LoadStats stats = load_.monitor.stats();
  stats.threads = threads;
  stats.dropped_bytes += dropped;
  stats.ranges = load_.schedule.chunks.size();
  if (const StagingPool* staging = load_.sink.staging()) stats.peak_staging_bytes += staging->peak_bytes();
  stats.peak_staging_bytes += sources_.requests().peak_bytes();
  stats.load_seconds = seconds_since(begin_);
  return stats;
}

// A record that does not inflate may have been written to meanwhile: then the change is the error that is reported.
void Pipeline::require_success() const {
  try {
    load_.monitor.rethrow();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::corrupt) sources_.require_unchanged();
    // Not when the write was reported: a report runs no code of a source, which is asked for its path here.
    const std::optional<Placement>& write = load_.monitor.failed_write();
    const std::optional<EntryByte> first = write ? load_.sink.byte_at(*write) : std::nullopt;
    if (first) throw errors_.about_write(error, first->entry, first->offset);
    throw;
  }
  if (load_.compares_at_end) sources_.require_unchanged();
}

unsigned Pipeline::run_workers_to_end() {
  const auto close = [this] {
    load_.sink.close();
    sources_.requests().stop();
  };
  // A worker that waits, for room, for a staging buffer or for a request, does not look at the stop token: closing
  // wakes it.
  const std::stop_callback stopped(load_.options.stop, close);
  // Loads that run at the same time divide the processors, unless the caller gave a number.
  const ProcessorShare share(load_.budget.threads, load_.options.threads == 0);
  std::optional<ThreadPool> own;
  ThreadPool* pool = nullptr;
  // The calling thread is a worker as well: the pool has one thread fewer.
  if (share.threads() > 1) pool = workers_ ? &WorkersAccess::pool(*workers_) : &own.emplace(share.threads() - 1);
  const unsigned threads = run_workers(pool, share.threads(), [&](unsigned) {
    try {
      const std::unique_ptr<Worker> worker = make_worker(*setup_);
      worker->run(batches_);
      worker->finish();
    } catch (...) {
      load_.monitor.fail();
      // The others may wait for room that this worker would have made.
      close();
    }
  });
  // A pool of the caller's can be busy with other loads, as intended; only a thread that the system refused is noted.
  if (own && threads < share.threads())
    load_.monitor.note(fmt::format("{} of {} threads: the system gives no more", threads, share.threads()));
  return threads;
}

}  // namespace heft::engine
