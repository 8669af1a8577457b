// materialize/worker.hpp: one thread's part of a load.
#pragma once

#include <atomic>
#include <cstddef>

#include "heft/load_stats.hpp"
#include "materialize/budget.hpp"
#include "materialize/chunk_errors.hpp"
#include "materialize/io/page_cache_cleanup.hpp"
#include "materialize/io/source_handles.hpp"
#include "materialize/load_monitor.hpp"
#include "materialize/memory/worker_memory.hpp"
#include "materialize/schedule.hpp"
#include "materialize/sink/chunk_sink.hpp"

namespace heft::engine {

/// The batches of a schedule, each for one worker. next() may be called by several threads.
class BatchQueue {
 public:
  /// Both outlive this.
  BatchQueue(const Schedule& schedule, const LoadMonitor& monitor) noexcept : schedule_(schedule), monitor_(monitor) {}

  /// Returns the next batch; nothing when none is left, or when the load has failed.
  [[nodiscard]] std::optional<Batch> next() noexcept {
    if (monitor_.has_failed()) return std::nullopt;
    if (rest_) return std::exchange(rest_, std::nullopt);
    // Relaxed: the workers exchange this number only. The schedule that it indexes was complete before they started.
    const std::size_t number = next_.fetch_add(1, std::memory_order_relaxed);
    return number < schedule_.batches.size() ? std::optional(schedule_.batches[number]) : std::nullopt;
  }
  /// Makes the rest of the last batch the next one. Requires that there is one worker.
  void put_back(const Batch& rest) noexcept { rest_ = rest; }

 private:
  const Schedule& schedule_;
  const LoadMonitor& monitor_;
  std::atomic<std::size_t> next_ = 0;
  std::optional<Batch> rest_;
};

/// The objects that the workers of a load use. All must outlive them.
struct WorkerSetup {
  const Schedule& schedule;
  const Budget& budget;
  IoMethod io_method = IoMethod::automatic;  ///< MaterializeOptions::io_method.
  const ChunkErrors& errors;
  SourceHandles& sources;
  ChunkSink& sink;
  LoadMonitor& monitor;
  const PageCacheCleanup* cleanup = nullptr;  ///< Null: pages that the load brings into the page cache may stay.
  WorkerMemories& memory;                     ///< One of each worker.
};

/// Takes batches, fetches their chunks and gives them to the sink.
///
/// Threads: one, which need not be the same for each call.
class Worker {
 public:
  virtual ~Worker() = default;
  /// Fetches one batch, or as much of it as there is room for without waiting. Returns false when no batch is left.
  virtual bool step(BatchQueue& batches) = 0;
  /// Fetches batches until none is left, and waits for room for them.
  virtual void run(BatchQueue& batches) = 0;
  /// Writes the chunks that are still being read, and adds this worker's share to the statistics. Called once, last.
  virtual void finish() = 0;

 protected:
  Worker() = default;
  Worker(const Worker&) = default;
  Worker& operator=(const Worker&) = default;
};

/// `setup` outlives the worker. Every member throws the errors of reading and of writing.
std::unique_ptr<Worker> make_worker(const WorkerSetup& setup);

}  // namespace heft::engine
