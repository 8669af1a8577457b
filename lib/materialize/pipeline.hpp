// materialize/pipeline.hpp: one load under way: what its workers share.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "heft/materialize.hpp"
#include "materialize/memory/arena_pool.hpp"
#include "materialize/budget.hpp"
#include "materialize/sink/device_sink.hpp"
#include "materialize/origins.hpp"
#include "materialize/per_source.hpp"
#include "materialize/io/page_cache_cleanup.hpp"
#include "materialize/schedule.hpp"
#include "materialize/thread_pool.hpp"
#include "mmap/direct.hpp"
#include "mmap/file.hpp"
#include "mmap/lease.hpp"

namespace heft::engine {

/// Where a tensor of a load goes.
struct Target {
  std::byte* base = nullptr;  ///< The entry's memory; null for far memory.
  Store store = Store::cached;
};

/// Bytes of a source on their way to bytes of the destination, unchanged and without a gap.
struct Run {
  std::byte* to = nullptr;  ///< Null: far memory, or none of the source's bytes begin here.
  std::uint64_t size = 0;
};

/// Seconds between now and `since`.
[[nodiscard]] inline double seconds_since(std::chrono::steady_clock::time_point since) noexcept {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

/// Adds a sentence, unless it is there.
void add_note(std::vector<std::string>& notes, std::string sentence);

/// Adds to the entry of the same path and reason.
void add_use(std::vector<PathUse>& uses, const PathUse& use);

/// What loads that belong together share; each may be null, and outlives them.
struct Shared {
  ArenaPool* rings = nullptr;            ///< Keeps the memory of direct reads for the next load.
  const PageSnapshot* before = nullptr;  ///< What was in the page cache before the first of them.
};

/// Everything that the workers of a load share. Outlives them.
///
/// Threads: all members may be called from any worker.
class Load {
 public:
  /// `targets` has one for each entry of `plan`; `schedule` is the plan's, cut. `far` is the destination when it gives
  /// no memory, else null.
  Load(const LoadPlan& plan, const Schedule& schedule, std::vector<Target> targets, const Budget& budget,
       const MaterializeOptions& options, Destination* far, const Shared& shared);

  /// Moves the bytes, on as many threads as the budget says. Throws the first failure, after all of them have ended;
  /// Error{changed_on_disk} where a file they came from is not as it was when it was opened, before the first byte or
  /// after the last.
  void run();
  /// What was done. After run().
  [[nodiscard]] LoadStats stats() const { return stats_; }

  [[nodiscard]] const Schedule& schedule() const noexcept { return schedule_; }
  [[nodiscard]] const Budget& budget() const noexcept { return budget_; }
  [[nodiscard]] const MaterializeOptions& options() const noexcept { return options_; }
  [[nodiscard]] Target target(const Part& part) const noexcept { return targets_[position(schedule_.transfer(part).entry)]; }
  /// The run that begins with a contiguous chunk's byte `at`; of size 0 when `at` lies in a gap.
  [[nodiscard]] Run straight_run(const Chunk& chunk, std::uint64_t at) const;
  /// The way to far memory; null when the destination's memory can be written to.
  [[nodiscard]] Handover* handover() noexcept { return handover_ ? &*handover_ : nullptr; }
  /// Memory for a worker's ring of direct reads.
  [[nodiscard]] std::shared_ptr<Arena> take_ring() const;
  /// What the load brings into the page cache; null when that may stay.
  [[nodiscard]] const Trail* trail() const noexcept { return trail_ ? &*trail_ : nullptr; }
  /// Name of the tensor that byte `at` of a chunk belongs to, or of the chunk's first one: for errors.
  [[nodiscard]] std::string_view tensor_of(const Chunk& chunk, std::uint64_t at) const;

  /// The next batch to work on; null when there is none left, or when the load has failed.
  [[nodiscard]] const Batch* next_batch() noexcept;
  /// Throws Error{cancelled} after a stop request.
  void check_stop() const;
  /// `written` more bytes of the destination are there.
  void advance(std::uint64_t written);
  /// Direct access to a source's file, opened on first use; null where it is not to be had.
  [[nodiscard]] std::shared_ptr<const mmap::DirectFile> direct_file(SourceIndex source);
  /// A lease on a source's file, taken on first use, and found to hold just now: while the caller keeps it, and for
  /// no longer than it takes to copy a batch, the mapping may be touched. Null where it is not to be had, and from
  /// when somebody wants to write to the file.
  [[nodiscard]] std::shared_ptr<const mmap::Lease> lease(SourceIndex source);
  /// Adds a sentence to LoadStats::notes, unless it is there.
  void note(std::string sentence);
  /// The same, of a call that the system refused.
  void note(std::string_view call, int os_error);
  /// Adds a worker's share.
  void add_stats(const LoadStats& share);

 private:
  [[nodiscard]] bool is_report_due() const noexcept;
  void report(bool last);
  void work_all();
  void require_success() const;

  const LoadPlan& plan_;
  const Schedule& schedule_;
  const Budget& budget_;
  const MaterializeOptions& options_;
  std::vector<Target> targets_;
  const Shared shared_;
  const Origins origins_;
  PerSource<mmap::DirectFile> direct_;
  PerSource<mmap::Lease> leases_;
  std::optional<Handover> handover_;
  PageSnapshot own_before_;  // empty when it is shared, or not wanted
  std::optional<Trail> trail_;
  FirstFailure failure_;
  std::atomic<std::size_t> next_ = 0;
  std::atomic<std::uint64_t> written_ = 0;
  std::mutex progress_mutex_;
  std::uint64_t reported_ = 0;
  std::atomic<std::chrono::steady_clock::rep> reported_at_ = 0;
  std::mutex stats_mutex_;
  LoadStats stats_;
};

/// Tells a load what has landed, in steps small enough for progress and stop: a chunk may write far more than it reads.
class Landed {
 public:
  explicit Landed(Load& load) noexcept : load_(load) {}
  /// `bytes` more are there. Throws Error{cancelled} after a stop request, at times.
  void add(std::uint64_t bytes) {
    bytes_ += bytes;
    if (bytes_ < step_bytes && ++parts_ < step_parts) return;
    report();
    load_.check_stop();
  }
  /// Reports what add() has not yet.
  void report() {
    load_.advance(std::exchange(bytes_, 0));
    parts_ = 0;
  }

 private:
  static constexpr std::uint64_t step_bytes = 1u << 20;
  static constexpr unsigned step_parts = 4096;
  Load& load_;
  std::uint64_t bytes_ = 0;
  unsigned parts_ = 0;
};

/// Puts fetched bytes where they belong, in memory or on their way to far memory, and reports progress: see land() in
/// landing.hpp.
void deliver(Load& load, const Chunk& chunk, Range range, const std::byte* bytes);

/// One worker of `load`, until there is nothing left to do. Throws what went wrong.
void work(Load& load);

}  // namespace heft::engine
