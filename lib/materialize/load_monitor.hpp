// materialize/load_monitor.hpp: progress, statistics and the first failure of a load.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "heft/destination.hpp"
#include "heft/materialize.hpp"
#include "materialize/thread_pool.hpp"

namespace heft::engine {

/// Seconds between now and `since`.
[[nodiscard]] inline double seconds_since(std::chrono::steady_clock::time_point since) noexcept {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

/// Adds a message, unless the list has it.
void add_note(std::vector<std::string>& notes, std::string message);

/// Adds to the entry of the same path and reason.
void add_use(std::vector<IoUse>& uses, const IoUse& use);

/// Progress, cancellation, statistics and the first failure of one load.
///
/// Threads: all members may be called from any worker.
class LoadMonitor {
 public:
  /// `options` outlive this. `bytes_total` are those that the load writes.
  LoadMonitor(const MaterializeOptions& options, std::uint64_t bytes_total) noexcept
      : options_(options), bytes_total_(bytes_total) {}

  /// Throws Error{cancelled} after a stop request.
  void check_stop() const;
  /// Counts `written` more bytes of the destination, and reports them to the caller now and then. Throws what
  /// MaterializeOptions::progress throws.
  void advance(std::uint64_t written);
  /// Reports the bytes written until now.
  void report_now() { report(true); }

  /// Adds a message to LoadStats::notes, unless it is there.
  void note(std::string message);
  /// The same, of a call that the system refused.
  void note(std::string_view call, int os_error);
  /// Adds a worker's share to the statistics.
  void add_stats(const LoadStats& share);
  /// Returns the sum of the shares, with the bytes written and the notes.
  [[nodiscard]] LoadStats stats() const;

  /// Keeps `failure`, the exception being handled if none is given, unless there is one already: the load is to end.
  void fail(std::exception_ptr failure = std::current_exception()) noexcept { failure_.capture(std::move(failure)); }
  /// The same for a write to `place`.
  void fail_write(std::exception_ptr failure, const Placement& place) noexcept {
    if (failure_.capture(std::move(failure))) failed_write_ = place;
  }
  [[nodiscard]] bool has_failed() const noexcept { return failure_.happened(); }
  /// Throws the first failure, if there was one. Requires that all workers have ended.
  void rethrow() const { failure_.rethrow(); }
  /// Where the write goes that was the first failure, if one was. Requires the same.
  [[nodiscard]] const std::optional<Placement>& failed_write() const noexcept { return failed_write_; }

 private:
  [[nodiscard]] bool is_report_due() const noexcept;
  void report(bool is_due);

  const MaterializeOptions& options_;
  const std::uint64_t bytes_total_;
  FirstFailure failure_;
  std::optional<Placement> failed_write_;  // written once, by the thread of the first failure
  std::atomic<std::uint64_t> written_ = 0;
  std::mutex progress_mutex_;
  std::uint64_t reported_ = 0;
  std::atomic<std::chrono::steady_clock::rep> reported_at_ = 0;
  mutable std::mutex stats_mutex_;
  LoadStats stats_;
};

/// Reports the bytes that one chunk writes, in steps small enough for progress and stop: a chunk may write far more
/// than it reads.
class WriteProgress {
 public:
  explicit WriteProgress(LoadMonitor& monitor) noexcept : monitor_(monitor) {}
  /// Counts `bytes` more. At times reports them, and throws Error{cancelled} after a stop request.
  void add(std::uint64_t bytes) {
    bytes_ += bytes;
    if (bytes_ < step_bytes && ++parts_ < step_parts) return;
    report();
    monitor_.check_stop();
  }
  /// Reports the bytes that add() has not reported yet.
  void report() {
    monitor_.advance(std::exchange(bytes_, 0));
    parts_ = 0;
  }

 private:
  static constexpr std::uint64_t step_bytes = 1u << 20;
  static constexpr unsigned step_parts = 4096;
  LoadMonitor& monitor_;
  std::uint64_t bytes_ = 0;
  unsigned parts_ = 0;
};

}  // namespace heft::engine
