#include <filesystem>
#include <map>
#include <ostream>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/notes.hpp"
#include "cli/quantizer.hpp"
#include "cli/select.hpp"
#include "cli/text.hpp"
#include "core/text.hpp"

namespace heft::cli {
namespace {

// Returns the file's name without its folder. A view of pieces shows the file of the first one.
std::string shard_name(const TensorView& view) {
  const std::string_view path = view.pieces().empty() ? view.shard_path() : view.pieces().front().part.shard_path();
  return std::filesystem::path(path).filename().string();
}

// Returns the byte of the file at which the tensor, or its first piece, starts.
std::uint64_t offset_of(const TensorView& view) {
  return view.pieces().empty() ? view.offset() : view.pieces().front().part.offset();
}

// Returns a line of JSON about the tensor; strides only if they differ from the packed ones.
std::string json_line(const TensorView& view) {
  std::string line = fmt::format("{{\"name\":{},\"dtype\":{},\"shape\":{},\"bytes\":{},\"shard\":{},\"offset\":{}",
                                 json_text(view.name()), json_text(view.dtype_name()), json_dims(view.shape()),
                                 view.size_bytes(), json_text(shard_name(view)), offset_of(view));
  if (view.pieces().empty() && !view.is_contiguous()) line += fmt::format(",\"strides\":{}", json_dims(view.strides()));
  return line + "}\n";
}

// Returns remarks beyond dtype and shape: "swapped", "transposed", ...
std::string remarks(const Checkpoint& checkpoint, const TensorView& view) {
  std::string text;
  // Appends a word if it applies.
  const auto say = [&text](bool applies, std::string_view word) {
    if (applies) text += fmt::format("{}{}", text.empty() ? "" : ", ", word);
  };
  say(!view.has_data(), "no data");
  say(view.is_swapped(), "big-endian");
  say(view.is_conjugated(), "conjugated");
  say(view.is_negated(), "negated");
  say(!view.pieces().empty(), fmt::format("{} pieces", view.pieces().size()));
  if (view.pieces().empty() && !view.is_contiguous()) say(true, fmt::format("strides {}", to_string(view.strides())));
  if (const auto quantizer = quantizer_of(checkpoint, view)) say(true, words_of(*quantizer));
  return text;
}

// Returns the cells of the tensor's row, escaped.
std::vector<std::string> row_of(const Checkpoint& checkpoint, const TensorView& view) {
  return {core::escaped(view.name()), core::escaped(view.dtype_name()), to_string(view.shape()),
          human_bytes(view.size_bytes()), remarks(checkpoint, view)};
}

// Sums of the tensors of one dtype.
struct Total {
  std::uint64_t tensors = 0;
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;
};

// Writes a table with a row for each dtype, and one for all.
void print_totals(const std::map<std::string, Total>& totals, std::size_t shards, Terminal& terminal) {
  std::vector<std::vector<std::string>> rows;
  Total sum;
  for (const auto& [dtype, total] : totals) {
    rows.push_back({dtype, core::counted(total.tensors, "tensor"), core::counted(total.elements, "element"),
                    human_bytes(total.bytes)});
    sum.tensors += total.tensors;
    sum.elements += total.elements;
    sum.bytes += total.bytes;
  }
  rows.push_back({"all", core::counted(sum.tensors, "tensor"), core::counted(sum.elements, "element"),
                  fmt::format("{} in {}", human_bytes(sum.bytes), core::counted(shards, "file"))});
  // Counts are right-aligned, so that their digits stand below each other.
  constexpr Column columns[] = {{}, {true}, {true}, {}};
  terminal.out << '\n' << table(columns, rows, terminal.width);
}

}  // namespace

int run(const ListCommand& command, Terminal& terminal) {
  const Checkpoint checkpoint = open_noted(command.path, command.open, terminal);
  const std::vector<TensorView> views = selected(checkpoint, command.select);
  // One object for each line, which a reader can process before the last one is written.
  if (command.json) {
    for (const TensorView& view : views) terminal.out << json_line(view);
    if (command.notes) print_notes_line(checkpoint.notes(), terminal);
    return ok;
  }
  constexpr Column columns[] = {{}, {}, {}, {true}, {}};
  // Two passes over the views, one to measure and one to write: the cells of 90,000 rows are not kept in memory.
  TableLayout layout(columns);
  std::map<std::string, Total> totals;
  for (const TensorView& view : views) {
    layout.measure(row_of(checkpoint, view));
    // By name, so that each dtype that heft does not have gets a row of its own.
    Total& total = totals[core::escaped(view.dtype_name())];
    total.tensors += 1;
    total.elements += view.element_count();
    total.bytes += view.size_bytes();
  }
  layout.fit(terminal.width);
  for (const TensorView& view : views) terminal.out << layout.line(row_of(checkpoint, view));
  print_totals(totals, checkpoint.shards().size(), terminal);
  return ok;
}

}  // namespace heft::cli
