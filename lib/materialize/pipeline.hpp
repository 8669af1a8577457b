// materialize/pipeline.hpp: executes a schedule: workers take batches, fetch their chunks, and give them to a sink.
#pragma once

#include <memory>
#include <optional>

#include "heft/materialize.hpp"
#include "materialize/budget.hpp"
#include "materialize/chunk_errors.hpp"
#include "materialize/io/page_cache_cleanup.hpp"
#include "materialize/io/source_handles.hpp"
#include "materialize/load_monitor.hpp"
#include "materialize/memory/arena_pool.hpp"
#include "materialize/schedule.hpp"
#include "materialize/sink/chunk_sink.hpp"

namespace heft::engine {

/// Resources shared by several loads; each can be null, and must outlive them.
struct Shared {
  ArenaPool* rings = nullptr;            ///< Keeps the memory of direct reads for the next load.
  const PageSnapshot* before = nullptr;  ///< What was in the page cache before the first of them.
};

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
  };

  /// Looks at the page cache, where the load is to leave it as it is.
  Pipeline(const Load& load, const Shared& shared);

  /// Moves the bytes, on as many threads as the budget says. Throws the first failure, after all of them have ended;
  /// Error{changed_on_disk} where a file they came from is not as it was when it was opened, before the first byte or
  /// after the last.
  LoadStats run();

 private:
  unsigned run_workers_to_end();
  void require_success() const;

  const Load load_;
  const std::shared_ptr<Workers> workers_;
  const Shared shared_;
  const ChunkErrors errors_;
  SourceHandles sources_;
  PageSnapshot own_before_;  // empty when it is shared, or not wanted
  std::optional<PageCacheCleanup> cleanup_;
};

}  // namespace heft::engine
