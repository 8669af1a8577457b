#include "materialize/load_monitor.hpp"

#include <algorithm>
#include <system_error>

#include <fmt/format.h>

#include "heft/error.hpp"
#include "kernels/kernels.hpp"

namespace heft::engine {
namespace {

// Between two reports of progress, whichever comes first: often enough to move a bar, seldom enough to cost nothing.
constexpr std::uint64_t report_bytes = 16u << 20;
constexpr std::chrono::milliseconds report_time(5);

}  // namespace

void add_use(std::vector<IoUse>& uses, const IoUse& use) {
  // A load has a dozen pairs of method and reason at most.
  const auto same = std::find_if(uses.begin(), uses.end(), [&](const IoUse& other) {
    return other.method == use.method && other.reason == use.reason;
  });
  if (same != uses.end())
    same->bytes += use.bytes;
  else
    uses.push_back(use);
}

void add_note(std::vector<std::string>& notes, std::string message) {
  if (std::find(notes.begin(), notes.end(), message) == notes.end()) notes.push_back(std::move(message));
}

void LoadMonitor::check_stop() const {
  if (options_.stop.stop_requested())
    throw Error(ErrorCode::cancelled,
                fmt::format("stopped after {} of {} bytes", written_.load(std::memory_order_relaxed), bytes_total_));
}

void LoadMonitor::advance(std::uint64_t written) {
  // Streaming stores may become visible after later ones: they are fenced before their bytes count as written, since
  // another thread may hand the tensor out on that count.
  kernels::finish_stores(kernels::Store::streaming);
  const std::uint64_t before = written_.fetch_add(written, std::memory_order_relaxed);
  if (!options_.progress) return;
  // fetch_add() returns each sum to one worker: each multiple of report_bytes is crossed once.
  if (before / report_bytes != (before + written) / report_bytes || is_report_due()) report(false);
}

bool LoadMonitor::is_report_due() const noexcept {
  const auto reported_at = std::chrono::steady_clock::duration(reported_at_.load(std::memory_order_relaxed));
  return std::chrono::steady_clock::now().time_since_epoch() - reported_at >= report_time;
}

// A worker that finds another one reporting goes on with its work, unless its report is `due` now.
void LoadMonitor::report(bool is_due) {
  if (!options_.progress) return;
  std::unique_lock lock(progress_mutex_, std::defer_lock);
  // A worker waits for the lock only if its report is due now. Otherwise the worker that holds it reports the later
  // sum.
  if (is_due)
    lock.lock();
  else if (!lock.try_lock())
    return;
  const std::uint64_t done = written_.load(std::memory_order_relaxed);
  // Amounts only grow. The full amount is left to report_now(), which is called after the files were compared.
  if (!is_due && (done <= reported_ || done == bytes_total_)) return;
  reported_ = done;
  reported_at_.store(std::chrono::steady_clock::now().time_since_epoch().count(), std::memory_order_relaxed);
  // Called under the lock: the caller's function is never entered twice at once.
  options_.progress({.bytes_done = done, .bytes_total = bytes_total_});
}

void LoadMonitor::note(std::string message) {
  const std::lock_guard lock(stats_mutex_);
  add_note(stats_.notes, std::move(message));
}

void LoadMonitor::note(std::string_view call, int os_error) {
  note(fmt::format("{}: {}", call, std::generic_category().message(os_error)));
}

void LoadMonitor::add_stats(const LoadStats& share) {
  const std::lock_guard lock(stats_mutex_);
  stats_.bytes_read += share.bytes_read;
  stats_.fallbacks += share.fallbacks;
  stats_.over_read += share.over_read;
  stats_.dropped_bytes += share.dropped_bytes;
  // Each worker has its own ring. The rings need not be full at one time: the sum is an upper bound.
  stats_.peak_staging_bytes += share.peak_staging_bytes;
  stats_.worker_fetch_seconds += share.worker_fetch_seconds;
  stats_.worker_copy_seconds += share.worker_copy_seconds;
  for (const IoUse& use : share.io_uses) add_use(stats_.io_uses, use);
}

LoadStats LoadMonitor::stats() const {
  const std::lock_guard lock(stats_mutex_);
  LoadStats stats = stats_;
  // Workers add their shares when they end; the bytes written are counted all along.
  stats.bytes_written = written_.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace heft::engine
