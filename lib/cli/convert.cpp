#include <ostream>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/process_memory.hpp"
#include "cli/select.hpp"
#include "cli/text.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "heft/remap.hpp"
#include "heft/save.hpp"

namespace heft::cli {
namespace {

Remapping remapping_from(const std::vector<std::string>& rules) {
  constexpr std::string_view arrow = "=>";
  Remapping remapping;
  for (const std::string& rule : rules) {
    const std::size_t at = rule.find(arrow);
    if (at == std::string::npos)
      throw Error(ErrorCode::out_of_range, fmt::format("expected --remap 'PATTERN=>REPLACEMENT', found '{}'", core::escaped(rule)));
    remapping.add(rule.substr(0, at), rule.substr(at + arrow.size()));
  }
  return remapping;
}

// Under its new names. Lists keep their numbers: what is written is what was there.
Checkpoint opened(const ConvertCommand& command) {
  const Checkpoint source = open(command.source, command.open);
  if (command.remap.empty()) return source;
  return remap(source, remapping_from(command.remap), Indices::keep);
}

std::vector<SaveItem> items_of(const Checkpoint& source, const ConvertCommand& command) {
  std::vector<SaveItem> items;
  for (TensorView& view : selected(source, command.select)) {
    const DType dtype = command.dtype.empty() ? view.dtype() : dtype_for(view, dtype_from(command.dtype));
    items.emplace_back(std::move(view), dtype);
  }
  return items;
}

double gigabytes_per_second(const SaveReport& report) { return static_cast<double>(report.tensor_bytes) / report.seconds / 1e9; }

template <class Items, class Text>
std::string json_list(const Items& items, Text text) {
  std::string list = "[";
  for (const auto& item : items) list += (list.size() > 1 ? "," : "") + text(item);
  return list + "]";
}

void print_json(const SaveReport& report, const PeakMemory& peak, Terminal& terminal) {
  terminal.out << fmt::format("{{\"tensors\":{},\"tensor_bytes\":{},\"seconds\":{:.6f},\"gb_per_s\":{:.3f},\"peak_rss\":{},\"peak_anonymous\":{}", report.tensors,
                              report.tensor_bytes, report.seconds, gigabytes_per_second(report), peak.resident, peak.anonymous);
  terminal.out << ",\"files\":" << json_list(report.files, [](const SavedFile& file) {
    return fmt::format("{{\"path\":{},\"size_bytes\":{},\"tensors\":{}}}", json_text(file.path), file.size_bytes, file.tensors);
  });
  terminal.out << ",\"tied\":" << json_list(report.tied, [](const auto& pair) { return fmt::format("[{},{}]", json_text(pair.first), json_text(pair.second)); });
  terminal.out << ",\"removed\":" << json_list(report.removed, [](const std::string& path) { return json_text(path); });
  terminal.out << ",\"notes\":" << json_list(report.notes, [](const std::string& note) { return json_text(note); }) << "}\n";
}

void print_text(const SaveReport& report, const PeakMemory& peak, Terminal& terminal) {
  for (const SavedFile& file : report.files)
    terminal.out << fmt::format("wrote {}: {} tensors, {}\n", core::escaped(file.path, 1000), file.tensors, human_bytes(file.size_bytes));
  for (const std::string& path : report.removed) terminal.out << fmt::format("removed {}\n", core::escaped(path, 1000));
  for (const auto& [name, first] : report.tied)
    terminal.out << fmt::format("note: '{}' is tied to '{}' and was written as a copy\n", core::escaped(name), core::escaped(first));
  for (const std::string& note : report.notes) terminal.out << "note: " << note << '\n';
  terminal.out << fmt::format("time: {:.3f} s, {:.2f} GB/s\n", report.seconds, gigabytes_per_second(report));
  terminal.out << fmt::format("peak memory: {} resident, {} anonymous\n", human_bytes(peak.resident), human_bytes(peak.anonymous));
}

}  // namespace

int run(const ConvertCommand& command, Terminal& terminal) {
  const Checkpoint source = opened(command);
  const std::vector<SaveItem> items = items_of(source, command);
  watch_interrupts();
  PeakMemorySampler memory;
  SaveReport report;
  {
    ProgressBar bar(terminal, "writing");
    SaveOptions options;
    options.keep_metadata = source.metadata();
    options.limits = command.open.limits;
    if (!command.shard_size.empty()) options.shard_bytes = bytes_from(command.shard_size);
    options.path = path_from(command.io);
    options.progress = [&bar](const Progress& progress) { bar.show(progress.bytes_done, progress.bytes_total); };
    report = save(items, command.destination, options);
  }
  const PeakMemory peak = memory.stop();
  if (command.json) print_json(report, peak, terminal);
  else print_text(report, peak, terminal);
  return yes;
}

}  // namespace heft::cli
