#include <algorithm>
#include <filesystem>
#include <ostream>
#include <set>
#include <system_error>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/freshness.hpp"
#include "cli/notes.hpp"
#include "cli/process_memory.hpp"
#include "cli/select.hpp"
#include "cli/text.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "heft/remap.hpp"
#include "heft/save.hpp"
#include "record/left_out.hpp"
#include "save/dtypes.hpp"
#include "save/layout.hpp"

namespace heft::cli {
namespace {

// Adds the rule "PATTERN=>REPLACEMENT". Throws Error{out_of_range} for a text without an arrow.
void add_rule(Remapping& remapping, const std::string& rule) {
  constexpr std::string_view arrow = "=>";
  // The first arrow separates: a replacement can contain one, a pattern must escape it.
  const std::size_t at = rule.find(arrow);
  if (at == std::string::npos)
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected --remap 'PATTERN=>REPLACEMENT', found '{}'", core::escaped(rule)));
  remapping.add(rule.substr(0, at), rule.substr(at + arrow.size()));
}

// Returns the rules of --remap, in order.
Remapping remapping_from(const std::vector<std::string>& rules) {
  Remapping remapping;
  for (const std::string& rule : rules) add_rule(remapping, rule);
  return remapping;
}

// Adds a note for each rule that changes no key after the rules before it.
void add_unused_rules(const Checkpoint& source, const std::vector<std::string>& rules,
                      std::vector<std::string>& notes) {
  std::vector<std::string> names;
  // A remapping without rules returns the names of all keys.
  for (Renamed& key : Remapping().trace(source)) names.push_back(std::move(key.was));
  for (const std::string& rule : rules) {
    Remapping remapping;
    add_rule(remapping, rule);
    bool changes = false;
    for (std::string& name : names) {
      std::string renamed = remapping(name);
      changes = changes || renamed != name;
      // The next rule is applied to the names that this one has made.
      name = std::move(renamed);
    }
    if (!changes) notes.push_back(fmt::format("--remap '{}' renames nothing", core::escaped(rule)));
  }
}

// Returns the checkpoint with new names. Lists keep their numbers.
Checkpoint remapped(const Checkpoint& source, const ConvertCommand& command) {
  if (command.remap.empty()) return source;
  return remap(source, remapping_from(command.remap), Indices::keep);
}

// Returns the tensors to be written, each with its dtype in the file.
std::vector<SaveItem> items_of(std::span<const Conversion> conversions) {
  std::vector<SaveItem> items;
  items.reserve(conversions.size());
  for (const auto& [view, dtype] : conversions) items.emplace_back(view, dtype);
  return items;
}

// Returns notes about tensors and values that the conversion leaves out or does not convert.
std::vector<std::string> notes_of(const Checkpoint& source, std::span<const Conversion> conversions,
                                  const ConvertCommand& command) {
  std::vector<std::string> notes;
  if (auto note = record::values_left_out(source)) notes.push_back(std::move(*note));
  return command.dtype.empty() ? notes
                               : joined(notes, conversion_notes(source, conversions, dtype_from(command.dtype)));
}

// Returns decimal gigabytes of tensors for each second.
double gigabytes_per_second(const SaveReport& report) {
  return static_cast<double>(report.tensor_bytes) / report.seconds / 1e9;
}

// Returns a pattern that matches only that name.
std::string pattern_of(std::string_view name) {
  std::string pattern;
  for (const char c : name) {
    if (std::string_view("*?[]{}\\").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

// Throws Error{unsupported} if the destination's format lacks a dtype, with options that help.
void require_writable(std::span<const SaveItem> items, const ConvertCommand& command) {
  const format::Writer& format = *writer::target_of(command.destination, {}).format->writer;
  const auto found = writer::unwritable(items, format);
  if (!found) return;
  const TensorView& view = items[found->first].view;
  std::vector<DType> dtypes = writer::writable_as(view, format);
  // Only dtypes that --dtype would convert this tensor to are useful advice.
  std::erase_if(dtypes, [&](DType dtype) { return dtype_for(view, dtype) != dtype; });
  if (view.dtype() == DType::unknown)
    throw Error(
        ErrorCode::unsupported,
        fmt::format("{}, and heft converts no dtype that it does not have (--as names that of NumPy's raw items); "
                    "leave it out with --exclude '{}'",
                    found->message, pattern_of(view.name())),
        {.path = std::string(view.shard_path()), .tensor = std::string(view.name())});
  const std::string advice =
      dtypes.empty()
          ? std::string("--dtype changes floats, quantized blocks and complex numbers only, so leave it out with")
          : fmt::format("convert it with --dtype {}, or leave it out with", writer::dtype_list(dtypes));
  throw Error(ErrorCode::unsupported,
              fmt::format("{}; {} --exclude '{}'", found->message, advice, pattern_of(view.name())),
              {.path = std::string(view.shard_path()), .tensor = std::string(view.name())});
}

// Returns a JSON list of the texts of the items.
template <class Items, class Text>
std::string json_list(const Items& items, Text text) {
  std::string list = "[";
  for (const auto& item : items) list += (list.size() > 1 ? "," : "") + text(item);
  return list + "]";
}

// Writes one line. Names of members are an interface: scripts read them.
void print_json(const SaveReport& report, const PeakMemory& peak, Terminal& terminal) {
  terminal.out << fmt::format(
      "{{\"tensors\":{},\"tensor_bytes\":{},\"seconds\":{:.6f},\"gb_per_s\":{:.3f},\"peak_rss\":{},\"peak_anonymous\":{"
      "}",
      report.tensors, report.tensor_bytes, report.seconds, gigabytes_per_second(report), peak.resident, peak.anonymous);
  terminal.out << ",\"files\":" << json_list(report.files, [](const SavedFile& file) {
    return fmt::format("{{\"path\":{},\"size_bytes\":{},\"tensors\":{}}}", json_text(file.path), file.size_bytes,
                       file.tensors);
  });
  terminal.out << ",\"tied\":" << json_list(report.tied, [](const auto& pair) {
    return fmt::format("[{},{}]", json_text(pair.first), json_text(pair.second));
  });
  terminal.out << ",\"removed\":" << json_list(report.removed, [](const std::string& path) { return json_text(path); });
  terminal.out << ",\"notes\":" << json_texts(report.notes) << "}\n";
}

// Writes the same as text, and a line for each file.
void print_text(const SaveReport& report, const PeakMemory& peak, Terminal& terminal) {
  for (const SavedFile& file : report.files)
    terminal.out << fmt::format("wrote {}: {}, {}\n", core::escaped(file.path, 1000),
                                core::counted(file.tensors, "tensor"), human_bytes(file.size_bytes));
  for (const std::string& path : report.removed) terminal.out << fmt::format("removed {}\n", core::escaped(path, 1000));
  terminal.out << fmt::format("time: {:.3f} s, {:.2f} GB/s\n", report.seconds, gigabytes_per_second(report));
  terminal.out << fmt::format("peak memory: {} resident, {} anonymous\n", human_bytes(peak.resident),
                              human_bytes(peak.anonymous));
}

// Returns true if the destination replaced the source: notes about the changed source are then omitted.
bool replaces_its_source(const SaveReport& report, const Checkpoint& source) {
  const auto place = [](const std::string& path) {
    std::error_code unknown;
    // Follows symlinks and resolves dots, so that two names of one file are equal. An empty path if that fails.
    return std::filesystem::weakly_canonical(path, unknown);
  };
  std::set<std::filesystem::path> touched;
  for (const SavedFile& file : report.files) touched.insert(place(file.path));
  for (const std::string& path : report.removed) touched.insert(place(path));
  return std::ranges::any_of(source.shards(),
                             [&](const ShardInfo& shard) { return touched.contains(place(shard.path)); });
}

}  // namespace

int run(const ConvertCommand& command, Terminal& terminal) {
  const Checkpoint original = open_noted(command.source, command.open, terminal);
  const Checkpoint source = remapped(original, command);
  // Patterns match the new names, because --remap is applied before.
  const std::vector<Conversion> conversions = conversions_of(selected(source, command.select), command.dtype);
  const std::vector<SaveItem> items = items_of(conversions);
  // save() would refuse the dtype too, but without advice about options.
  require_writable(items, command);
  watch_interrupts();
  PeakMemorySampler memory;
  SaveReport report;
  {
    ProgressBar bar(terminal, "writing");
    SaveOptions options;
    // The metadata of the source stays with its tensors.
    options.keep_metadata = source.metadata();
    options.limits = command.open.limits;
    if (!command.shard_size.empty()) options.shard_bytes = bytes_from(command.shard_size);
    options.io_method = io_method_from(command.io, command.open.access);
    options.progress = [&bar](const Progress& progress) { bar.show(progress.bytes_done, progress.bytes_total); };
    report = save(items, command.destination, options);
  }
  // Before the notes, whose texts are no part of the conversion.
  const PeakMemory peak = memory.stop();
  report.notes = joined(notes_of(source, conversions, command), report.notes);
  add_unused_rules(original, command.remap, report.notes);
  for (const auto& [name, first] : report.tied)
    report.notes.push_back(
        fmt::format("'{}' is tied to '{}' and was written as a copy", core::escaped(name), core::escaped(first)));
  print_notes(report.notes, terminal);
  // The notes of opening are on the error stream already; JSON has all of them.
  report.notes = joined(source.notes(), report.notes);
  if (!replaces_its_source(report, source)) note_freshness(source, terminal);
  if (command.json)
    print_json(report, peak, terminal);
  else
    print_text(report, peak, terminal);
  return ok;
}

}  // namespace heft::cli
