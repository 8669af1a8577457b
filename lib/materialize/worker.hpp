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
#include "materialize/memory/arena_pool.hpp"
#include "materialize/schedule.hpp"
#include "materialize/sink/chunk_sink.hpp"

namespace heft::engine {

/// The batches of a schedule, each for one worker. May be used by several threads.
class BatchQueue {
 public:
  /// Both outlive this.
  BatchQueue(const Schedule& schedule, const LoadMonitor& monitor) noexcept : schedule_(schedule), monitor_(monitor) {}

  /// The next batch to work on; null when there is none left, or when the load has failed.
  [[nodiscard]] const Batch* next() noexcept {
    if (monitor_.has_failed()) return nullptr;
    const std::size_t number = next_.fetch_add(1, std::memory_order_relaxed);
    return number < schedule_.batches.size() ? &schedule_.batches[number] : nullptr;
  }

 private:
  const Schedule& schedule_;
  const LoadMonitor& monitor_;
  std::atomic<std::size_t> next_ = 0;
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
  const PageCacheCleanup* cleanup = nullptr;  ///< Null: what the load brings into the page cache may stay.
  ArenaPool* rings = nullptr;                 ///< Null: rings of direct reads are for this load only.
};

/// Takes batches until there are none left, fetches their chunks and gives them to the sink. Throws what went wrong.
void work(const WorkerSetup& setup, BatchQueue& batches);

}  // namespace heft::engine
