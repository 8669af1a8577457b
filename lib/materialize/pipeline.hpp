// materialize/pipeline.hpp: executes a schedule: workers take batches, fetch their chunks, and give them to a sink.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>

#include "heft/materialize.hpp"
#include "materialize/budget.hpp"
#include "materialize/chunk_errors.hpp"
#include "materialize/io/page_cache_cleanup.hpp"
#include "materialize/io/source_handles.hpp"
#include "materialize/load_monitor.hpp"
#include "materialize/schedule.hpp"
#include "materialize/sink/chunk_sink.hpp"
#include "materialize/worker.hpp"

namespace heft::engine {

/// One load, from its first byte to its last.
class Pipeline {
 public:
  /// The parts of a load. All must outlive it.
  struct Load {
    const LoadPlan& plan;
    const Schedule& schedule;
    const Budget& budget;
    const MaterializeOptions& options;
    ChunkSink& sink;
    LoadMonitor& monitor;
    WorkerMemories& memory;  ///< One of each worker.
    /// False: the sink hands out tensors before the end of the load, and compares their files itself.
    bool compares_at_end = true;
  };

  /// Takes a snapshot of the page cache if the load must leave it unchanged (drop_page_cache).
  explicit Pipeline(const Load& load);

  /// Moves the bytes, on as many threads as the budget says. Throws the first failure, after all of them have ended;
  /// Error{changed_on_disk} where a file they came from is not as it was when it was opened, before the first byte or
  /// after the last.
  LoadStats run();

  /// Fetches the next batch on the calling thread, without waiting for room. Returns false when none is left: then the
  /// caller calls finish().
  bool step();
  /// Ends the load that step() began. Throws as run().
  LoadStats finish();

 private:
  void begin();
  unsigned run_workers_to_end();
  LoadStats end(unsigned threads);
  void require_success() const;

  const Load load_;
  const std::shared_ptr<Workers> workers_;
  const ChunkErrors errors_;
  SourceHandles sources_;
  PageSnapshot before_;  // empty when it is not wanted
  std::optional<PageCacheCleanup> cleanup_;
  BatchQueue batches_;
  std::optional<WorkerSetup> setup_;
  std::chrono::steady_clock::time_point begin_;
  std::optional<NoReadAhead> no_read_ahead_;
  std::optional<std::stop_callback<std::function<void()>>> stop_requests_;
  std::unique_ptr<Worker> stepping_;
};

}  // namespace heft::engine
