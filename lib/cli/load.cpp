#include <chrono>
#include <ostream>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/freshness.hpp"
#include "cli/notes.hpp"
#include "cli/process_memory.hpp"
#include "cli/select.hpp"
#include "cli/text.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"

namespace heft::cli {
namespace {

// The planned load, with notes about tensors that it leaves out or does not convert.
struct Planned {
  LoadPlan plan;
  std::vector<std::string> notes;
};

// Returns the name as messages quote it.
std::string quoted(const TensorView& view) { return fmt::format("'{}'", core::escaped(view.name())); }

// Cuts the views. A tensor without the dim is loaded whole: in tensor parallelism, a bias has no dim 1 and norms are
// replicated.
void cut(std::vector<TensorView>& views, const LoadCommand& command, std::vector<std::string>& notes) {
  if (command.shard.empty()) {
    // An option without effect would look like one that worked.
    if (command.dim) throw Error(ErrorCode::out_of_range, "--dim is the dim that --shard cuts: expected --shard too");
    return;
  }
  const ShardOf part = shard_from(command.shard);
  const std::size_t dim = command.dim.value_or(0);
  NamedCount whole;
  for (TensorView& view : views) {
    if (dim < view.rank())
      view = view.shard(dim, part.tp_rank, part.tp_size);
    else
      whole.add(quoted(view));
  }
  // Each rank would load everything, which the user did not mean.
  if (!views.empty() && whole.size() == views.size())
    throw Error(ErrorCode::out_of_range,
                fmt::format("--shard cuts dim {}, which none of the {} tensors has", dim, views.size()),
                {.path = command.path});
  if (whole.size() > 0)
    notes.push_back(fmt::format("{} loaded whole, without a dim {}: {}", whole.tensors(), dim, whole.names()));
}

// Returns the plan of the selected tensors: those with bytes, cut by --shard, as --dtype.
Planned plan_for(const LoadCommand& command, const Checkpoint& checkpoint) {
  Planned planned{LoadPlan(command.open.limits), {}};
  std::vector<TensorView> views = selected(checkpoint, command.select);
  NamedCount without_bytes;
  // Counted before they are removed, because the note names them. Meta tensors have a shape and no bytes.
  for (const TensorView& view : views)
    if (!view.has_data()) without_bytes.add(quoted(view));
  std::erase_if(views, [](const TensorView& view) { return !view.has_data(); });
  if (without_bytes.size() > 0)
    planned.notes.push_back(
        fmt::format("{} not loaded, with a shape but no bytes: {}", without_bytes.tensors(), without_bytes.names()));
  cut(views, command, planned.notes);
  // After cutting, so that the notes of --dtype are about the tensors that are loaded.
  const std::vector<Conversion> conversions = conversions_of(std::move(views), command.dtype);
  for (const auto& [view, dtype] : conversions) planned.plan.add(view, dtype);
  if (!command.dtype.empty())
    for (std::string& note : conversion_notes(checkpoint, conversions, dtype_from(command.dtype)))
      planned.notes.push_back(std::move(note));
  return planned;
}

// Seconds from the start of opening to the last loaded byte, and those of opening.
struct Times {
  double open = 0;
  double load = 0;
  [[nodiscard]] double all() const noexcept { return open + load; }
};

// Returns decimal gigabytes for each second from the start of opening.
double gb_per_second(const LoadStats& stats, const Times& times) {
  return static_cast<double>(stats.bytes_written) / times.all() / 1e9;
}

// Writes one line. Names of members are an interface: scripts read them.
void print_json(const LoadStats& stats, std::size_t tensors, const Times& times, const PeakMemory& peak,
                std::span<const std::string> notes, Terminal& terminal) {
  terminal.out << fmt::format("{{\"tensors\":{},\"bytes_read\":{},\"bytes_written\":{},", tensors, stats.bytes_read,
                              stats.bytes_written);
  terminal.out << fmt::format("\"seconds\":{:.6f},\"open_seconds\":{:.6f},\"load_seconds\":{:.6f},\"gb_per_s\":{:.3f},",
                              times.all(), times.open, times.load, gb_per_second(stats, times));
  terminal.out << fmt::format("\"peak_rss\":{},\"peak_anonymous\":{},\"threads\":{},\"paths\":{{", peak.resident,
                              peak.anonymous, stats.threads);
  // One member for each way in which bytes were read and its reason: "map:resident".
  for (std::size_t i = 0; i < stats.io_uses.size(); ++i)
    terminal.out << fmt::format("{}\"{}:{}\":{}", i > 0 ? "," : "", name(stats.io_uses[i].method),
                                name(stats.io_uses[i].reason), stats.io_uses[i].bytes);
  terminal.out << "},\"notes\":" << json_texts(notes) << "}\n";
}

// Writes the same as text.
void print_text(const LoadStats& stats, std::size_t tensors, const Times& times, const PeakMemory& peak,
                Terminal& terminal) {
  terminal.out << fmt::format("loaded {}: {} read, {} written\n", core::counted(tensors, "tensor"),
                              human_bytes(stats.bytes_read), human_bytes(stats.bytes_written));
  terminal.out << fmt::format("time: {:.3f} s ({:.3f} opening, {:.3f} loading), {:.2f} GB/s, {}\n", times.all(),
                              times.open, times.load, gb_per_second(stats, times),
                              core::counted(stats.threads, "thread"));
  terminal.out << fmt::format("peak memory: {} resident, {} anonymous\n", human_bytes(peak.resident),
                              human_bytes(peak.anonymous));
  for (const IoUse& use : stats.io_uses)
    terminal.out << fmt::format("path: {} {} ({})\n", human_bytes(use.bytes), name(use.method), name(use.reason));
}

}  // namespace

int run(const LoadCommand& command, Terminal& terminal) {
  // Before opening: Ctrl-C then ends the load at the next progress report, with its memory released.
  watch_interrupts();
  // Started before opening, whose tables are part of the peak.
  PeakMemorySampler memory;
  const auto begin = std::chrono::steady_clock::now();
  const Checkpoint checkpoint = open_noted(command.path, command.open, terminal);
  const double open_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const Planned planned = plan_for(command, checkpoint);
  print_notes(planned.notes, terminal);
  Weights weights;
  {
    // In a block: the bar is erased before the first line of output.
    ProgressBar bar(terminal, "loading");
    MaterializeOptions options;
    options.threads = command.threads;
    options.io_method = io_method_from(command.io, command.open.access);
    options.drop_page_cache = command.drop_cache;
    options.progress = [&bar](const Progress& progress) { bar.show(progress.bytes_done, progress.bytes_total); };
    weights = materialize(planned.plan, options);
  }
  // While the tensors are still in memory.
  const PeakMemory peak = memory.stop();
  print_notes(weights.stats().notes, terminal);
  note_freshness(checkpoint, terminal);
  // stats().seconds, not the clock here: printing notes is no part of the load.
  const Times times{open_seconds, weights.stats().seconds};
  if (command.json)
    print_json(weights.stats(), weights.size(), times, peak,
               joined(joined(checkpoint.notes(), planned.notes), weights.stats().notes), terminal);
  else
    print_text(weights.stats(), weights.size(), times, peak, terminal);
  return ok;
}

}  // namespace heft::cli
