#include "materialize/pipeline.hpp"

#include <algorithm>
#include <stop_token>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "heft/error.hpp"
#include "materialize/sink/host_sink.hpp"
#include "materialize/plan_state.hpp"

namespace heft::engine {
namespace {

// Between two reports of progress, whichever comes first: often enough to move a bar, seldom enough to cost nothing.
constexpr std::uint64_t report_bytes = 16u << 20;
constexpr std::chrono::milliseconds report_time(5);

}  // namespace

void add_use(std::vector<PathUse>& uses, const PathUse& use) {
  const auto same = std::find_if(uses.begin(), uses.end(), [&](const PathUse& other) {
    return other.path == use.path && other.reason == use.reason;
  });
  if (same != uses.end())
    same->bytes += use.bytes;
  else
    uses.push_back(use);
}

void add_note(std::vector<std::string>& notes, std::string sentence) {
  if (std::find(notes.begin(), notes.end(), sentence) == notes.end()) notes.push_back(std::move(sentence));
}

Load::Load(const LoadPlan& plan, const Schedule& schedule, std::vector<Target> targets, const Budget& budget,
           const MaterializeOptions& options, Destination* far, const Shared& shared)
    : plan_(plan), schedule_(schedule), budget_(budget), options_(options), targets_(std::move(targets)), shared_(shared), origins_(schedule) {
  if (far != nullptr) handover_.emplace(*far, budget.arena->offsets, Slots::make(budget.staging_buffer_bytes, budget.staging_buffers));
  if (!options.drop_page_cache) return;
  if (shared.before == nullptr) own_before_ = PageSnapshot::of_chunks(schedule);
  trail_.emplace(schedule, shared.before == nullptr ? own_before_ : *shared.before);
}

void Load::run() {
  const auto begin = std::chrono::steady_clock::now();
  check_stop();
  origins_.require_unchanged();
  const NoReadAhead alone(trail());
  work_all();
  if (trail_) stats_.dropped_bytes += trail_->give_up_all();
  require_success();
  report(true);
  stats_.bytes_written = written_.load(std::memory_order_relaxed);
  stats_.ranges = schedule_.chunks.size();
  if (handover_) stats_.peak_ring_bytes += handover_->slots().peak_bytes();
  stats_.load_seconds = seconds_since(begin);
}

// A record that does not inflate may be one that was written to meanwhile: that is what went wrong then.
void Load::require_success() const {
  try {
    failure_.rethrow();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::corrupt) origins_.require_unchanged();
    throw;
  }
  origins_.require_unchanged();
}

void Load::work_all() {
  const auto close = [this] {
    if (handover_) handover_->slots().close();
  };
  const std::stop_callback stopped(options_.stop, close);
  const ProcessorShare share(budget_.threads, options_.threads == 0);
  const unsigned threads = run_workers(share.threads(), [&](unsigned) {
    try {
      work(*this);
    } catch (...) {
      failure_.capture();
      close();
    }
  });
  stats_.threads = threads;
  if (threads < share.threads()) note(fmt::format("{} of {} threads: the system gives no more", threads, share.threads()));
}

std::shared_ptr<Arena> Load::take_ring() const {
  const std::uint64_t size = handover_ ? budget_.device_ring_bytes : budget_.ring_bytes;
  return shared_.rings == nullptr ? Arena::allocate(size, Arena::huge_page)
                                  : shared_.rings->take(size, Arena::huge_page);
}

Run Load::straight_run(const Chunk& chunk, std::uint64_t at) const {
  const std::span<const Part> parts = schedule_.parts_of(chunk);
  auto part = std::partition_point(parts.begin(), parts.end(), [&](const Part& p) { return p.from_end <= at; });
  if (part->from > at) return {};
  std::byte* const base = target(*part).base;
  Run run{.to = base == nullptr ? nullptr : base + part->to + (at - part->from), .size = part->from_end - at};
  for (++part; run.to != nullptr && part != parts.end() && part->from == at + run.size; ++part) {
    std::byte* const next = target(*part).base;
    if (next == nullptr || next + part->to != run.to + run.size) break;
    run.size += part->from_end - part->from;
  }
  return run;
}

std::string_view Load::tensor_of(const Chunk& chunk, std::uint64_t at) const {
  const std::span<const Part> parts = schedule_.parts_of(chunk);
  const auto holding =
      std::find_if(parts.begin(), parts.end(), [&](const Part& part) { return part.from <= at && at < part.from_end; });
  return plan_.name(position(schedule_.transfer(holding == parts.end() ? parts.front() : *holding).entry));
}

const Batch* Load::next_batch() noexcept {
  if (failure_.happened()) return nullptr;
  const std::size_t number = next_.fetch_add(1, std::memory_order_relaxed);
  return number < schedule_.batches.size() ? &schedule_.batches[number] : nullptr;
}

void Load::check_stop() const {
  if (options_.stop.stop_requested())
    throw Error(ErrorCode::cancelled, fmt::format("stopped after {} of {} bytes",
                                                  written_.load(std::memory_order_relaxed), schedule_.sizes.written));
}

void Load::advance(std::uint64_t written) {
  kernels::finish_stores(Store::streaming);
  const std::uint64_t before = written_.fetch_add(written, std::memory_order_relaxed);
  if (!options_.progress) return;
  if (before / report_bytes != (before + written) / report_bytes || is_report_due()) report(false);
}

bool Load::is_report_due() const noexcept {
  const auto reported_at = std::chrono::steady_clock::duration(reported_at_.load(std::memory_order_relaxed));
  return std::chrono::steady_clock::now().time_since_epoch() - reported_at >= report_time;
}

// A worker that finds another one reporting goes on with its work.
void Load::report(bool last) {
  if (!options_.progress) return;
  std::unique_lock lock(progress_mutex_, std::defer_lock);
  if (last)
    lock.lock();
  else if (!lock.try_lock())
    return;
  const std::uint64_t done = written_.load(std::memory_order_relaxed);
  if (!last && (done <= reported_ || done == schedule_.sizes.written)) return;
  reported_ = done;
  reported_at_.store(std::chrono::steady_clock::now().time_since_epoch().count(), std::memory_order_relaxed);
  options_.progress({.bytes_done = done, .bytes_total = schedule_.sizes.written});
}

std::shared_ptr<const mmap::DirectFile> Load::direct_file(SourceIndex number) {
  return direct_.get(number, [&]() -> std::shared_ptr<const mmap::DirectFile> {
    const auto& source = schedule_.transfers->sources[position(number)];
    mmap::DirectFile::Opening opening = mmap::DirectFile::open({source, source->file()});
    if (!opening.file) note("no direct reads: " + opening.reason);
    return opening.file && opening.file->offset_alignment() <= max_direct_alignment ? opening.file : nullptr;
  });
}

std::shared_ptr<const mmap::Lease> Load::lease(SourceIndex number) {
  auto lease = leases_.get(number, [&]() -> std::shared_ptr<const mmap::Lease> {
    int os_error = 0;
    auto taken = mmap::Lease::take(*schedule_.source(number).file(), os_error);
    if (os_error != 0) note("fcntl(F_SETLEASE)", os_error);
    return taken;
  });
  if (!lease || !lease->is_broken()) return lease;
  // The writer that waits for the file goes on as soon as the last worker that still copies from it has let go.
  leases_.refuse(number);
  return nullptr;
}

void Load::note(std::string sentence) {
  const std::lock_guard lock(stats_mutex_);
  add_note(stats_.notes, std::move(sentence));
}

void Load::note(std::string_view call, int os_error) {
  note(fmt::format("{}: {}", call, std::generic_category().message(os_error)));
}

void deliver(Load& load, const Chunk& chunk, Range range, const std::byte* bytes) {
  if (load.handover() != nullptr)
    load.handover()->land(load, chunk, range, bytes);
  else
    land(load, chunk, range, bytes);
}

void Load::add_stats(const LoadStats& share) {
  const std::lock_guard lock(stats_mutex_);
  stats_.bytes_read += share.bytes_read;
  stats_.fallbacks += share.fallbacks;
  stats_.over_read += share.over_read;
  stats_.dropped_bytes += share.dropped_bytes;
  stats_.peak_ring_bytes += share.peak_ring_bytes;
  stats_.worker_fetch_seconds += share.worker_fetch_seconds;
  stats_.worker_copy_seconds += share.worker_copy_seconds;
  for (const PathUse& use : share.paths) add_use(stats_.paths, use);
}

}  // namespace heft::engine
