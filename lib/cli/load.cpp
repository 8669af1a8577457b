#include <chrono>
#include <ostream>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/process_memory.hpp"
#include "cli/select.hpp"
#include "cli/text.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"

namespace heft::cli {
namespace {

LoadPlan plan_for(const LoadCommand& command, const Checkpoint& checkpoint) {
  LoadPlan plan(command.open.limits);
  for (TensorView view : selected(checkpoint, command.select)) {
    if (!view.has_data()) continue;
    // A bias has no dim 1 and norms are replicated in tensor parallelism: what lacks the dim is loaded whole.
    if (!command.shard.empty() && command.dim < view.rank()) {
      const ShardOf part = shard_from(command.shard);
      view = view.shard(command.dim, part.tp_rank, part.tp_size);
    }
    const DType dtype = command.dtype.empty() ? view.dtype() : dtype_for(view, dtype_from(command.dtype));
    plan.add(std::move(view), dtype);
  }
  return plan;
}

// Seconds from the first look at the path to the last byte in its place, and those of them that opening took.
struct Times {
  double open = 0;
  double load = 0;
  [[nodiscard]] double all() const noexcept { return open + load; }
};

double gb_per_second(const LoadStats& stats, const Times& times) {
  return static_cast<double>(stats.bytes_written) / times.all() / 1e9;
}

void print_json(const LoadStats& stats, std::size_t tensors, const Times& times, const PeakMemory& peak, Terminal& terminal) {
  terminal.out << fmt::format("{{\"tensors\":{},\"bytes_read\":{},\"bytes_written\":{},", tensors, stats.bytes_read, stats.bytes_written);
  terminal.out << fmt::format("\"seconds\":{:.6f},\"open_seconds\":{:.6f},\"load_seconds\":{:.6f},\"gb_per_s\":{:.3f},", times.all(), times.open,
                              times.load, gb_per_second(stats, times));
  terminal.out << fmt::format("\"peak_rss\":{},\"peak_anonymous\":{},\"threads\":{},\"paths\":{{", peak.resident, peak.anonymous, stats.threads);
  for (std::size_t i = 0; i < stats.paths.size(); ++i)
    terminal.out << fmt::format("{}\"{}:{}\":{}", i > 0 ? "," : "", name(stats.paths[i].path), name(stats.paths[i].reason), stats.paths[i].bytes);
  terminal.out << "}}\n";
}

void print_text(const LoadStats& stats, std::size_t tensors, const Times& times, const PeakMemory& peak, Terminal& terminal) {
  terminal.out << fmt::format("loaded {} tensors: {} read, {} written\n", tensors, human_bytes(stats.bytes_read), human_bytes(stats.bytes_written));
  terminal.out << fmt::format("time: {:.3f} s ({:.3f} opening, {:.3f} loading), {:.2f} GB/s, {} threads\n", times.all(), times.open, times.load,
                              gb_per_second(stats, times), stats.threads);
  terminal.out << fmt::format("peak memory: {} resident, {} anonymous\n", human_bytes(peak.resident), human_bytes(peak.anonymous));
  for (const PathUse& use : stats.paths) terminal.out << fmt::format("path: {} {} ({})\n", human_bytes(use.bytes), name(use.path), name(use.reason));
}

}  // namespace

int run(const LoadCommand& command, Terminal& terminal) {
  watch_interrupts();
  PeakMemorySampler memory;
  const auto begin = std::chrono::steady_clock::now();
  const Checkpoint checkpoint = open(command.path, command.open);
  const double open_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const LoadPlan plan = plan_for(command, checkpoint);
  Weights weights;
  {
    ProgressBar bar(terminal, "loading");
    MaterializeOptions options;
    options.threads = command.threads;
    options.path = path_from(command.io);
    options.drop_page_cache = command.drop_cache;
    options.progress = [&bar](const Progress& progress) { bar.show(progress.bytes_done, progress.bytes_total); };
    weights = materialize(plan, options);
  }
  const PeakMemory peak = memory.stop();
  const Times times{open_seconds, weights.stats().seconds};
  if (command.json) print_json(weights.stats(), weights.count(), times, peak, terminal);
  else print_text(weights.stats(), weights.count(), times, peak, terminal);
  return yes;
}

}  // namespace heft::cli
