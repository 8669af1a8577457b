#include <algorithm>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/notes.hpp"
#include "cli/quantizer.hpp"
#include "cli/select.hpp"
#include "cli/text.hpp"
#include "cli/values.hpp"
#include "core/text.hpp"
#include "save/pieces.hpp"

namespace heft::cli {
namespace {

// The first values of a tensor in parts, one after the other, and the statistics of all of it.
struct Shown {
  std::vector<Tensor> first;
  Statistics statistics;
};

// Of all values, also if only the first are printed: piece by piece, put together in order, so that the mean is the
// same on any number of threads.
Statistics statistics_by_windows(const TensorView& view, const OpenOptions& open) {
  writer::Pieces pieces(open.limits);
  pieces.add(view, loaded_as(view), writer::window_bytes_of(view));
  const engine::Windows windows = pieces.windows();
  std::vector<Statistics> parts(pieces.size());
  static_cast<void>(pieces.visit({}, windows, [&](const engine::Window& window) {
    const std::span<const std::uint32_t> numbers = windows[window.number()];
    for (std::size_t i = 0; i < numbers.size(); ++i) parts[numbers[i]] = statistics_of(as_numbers(window.tensors()[i]));
  }));
  Statistics all;
  for (const Statistics& part : parts) all = merged(all, part);
  return all;
}

// Loads as many parts as contain `head` values. Less than all of a tensor is in memory if not all values are printed.
Shown shown(const TensorView& view, std::uint64_t head, const OpenOptions& open) {
  // By windows in both cases, so that the mean does not depend on the number of values that are printed.
  if (head >= view.element_count()) return {{readable(view)}, statistics_by_windows(view, open)};
  Shown shown;
  std::uint64_t count = 0;
  writer::ViewCutter cutter(view, loaded_as(view), writer::window_bytes_of(view));
  for (std::optional<TensorView> piece; count < head && (piece = cutter.next()); count += piece->element_count())
    shown.first.push_back(readable(*piece));
  shown.statistics = statistics_by_windows(view, open);
  return shown;
}

// Writes the first `most` values as JSON.
template <class Write>
void each_value(const std::vector<Tensor>& parts, std::uint64_t most, Write write) {
  std::size_t done = 0;
  for (const Tensor& part : parts)
    visit_elements(part, [&](const auto elements) {
      for (std::size_t i = 0; i < elements.size() && done < most; ++i) write(done++, json_value(elements[i]));
    });
}

// Returns the number as JSON, or null if there are no finite values.
std::string json_or_null(const Statistics& statistics, double value) {
  return statistics.finite > 0 ? json_number(value) : "null";
}

double mean_of(const Statistics& statistics) { return statistics.total / static_cast<double>(statistics.finite); }

// Writes one object. `more` are members of the quantizer, with a comma in front.
void print_json(const TensorView& view, const Shown& shown, const std::string& more, std::uint64_t head,
                std::span<const std::string> notes, Terminal& terminal) {
  terminal.out << fmt::format("{{\"name\":{},\"dtype\":{},\"shape\":{},\"values\":[", json_text(view.name()),
                              json_text(view.dtype_name()), json_dims(view.shape()));
  // Written value by value: the text of a tensor is several times its size.
  each_value(shown.first, head,
             [&](std::size_t i, const std::string& value) { terminal.out << (i > 0 ? "," : "") << value; });
  const Statistics& statistics = shown.statistics;
  terminal.out << fmt::format("],\"min\":{},\"max\":{},\"mean\":{},\"nan\":{},\"inf\":{}{}{}}}\n",
                              json_or_null(statistics, statistics.min), json_or_null(statistics, statistics.max),
                              json_or_null(statistics, mean_of(statistics)), statistics.nan, statistics.inf, more,
                              notes.empty() ? "" : fmt::format(",\"notes\":{}", json_texts(notes)));
}

// Writes values in rows of the innermost dim, cut at the width of a line.
void print_values(const TensorView& view, const std::vector<Tensor>& first, std::uint64_t head, Terminal& terminal) {
  const std::size_t rank = view.shape().rank();
  const auto row = static_cast<std::size_t>(rank == 0 ? 1 : std::max<std::int64_t>(view.shape()[rank - 1], 1));
  // Rows longer than eight values continue on the next line.
  const std::size_t per_line = std::min<std::size_t>(row, 8);
  each_value(first, head, [&](std::size_t i, const std::string& value) {
    // The position in the row decides, so that each row starts a line.
    const bool begins = i % row % per_line == 0;
    if (begins && i > 0) terminal.out << '\n';
    terminal.out << "  " << value;
  });
  terminal.out << '\n';
  if (view.element_count() > head) terminal.out << "  ... " << view.element_count() - head << " more\n";
}

// Writes a heading, the first values and the statistics.
void print_text(const TensorView& view, const Shown& shown, std::uint64_t head, Terminal& terminal) {
  terminal.out << fmt::format("{}: {} {}, {}\n", core::escaped(view.name()), core::escaped(view.dtype_name()),
                              to_string(view.shape()), human_bytes(view.size_bytes()));
  print_values(view, shown.first, head, terminal);
  const Statistics& statistics = shown.statistics;
  // None for tensors without finite values, and for complex numbers, which have no order.
  if (statistics.finite > 0)
    terminal.out << fmt::format("min {}, max {}, mean {} (of finite values), ", statistics.min, statistics.max,
                                mean_of(statistics));
  terminal.out << fmt::format("{} NaN, {} infinite\n", statistics.nan, statistics.inf);
}

}  // namespace

int run(const ShowCommand& command, Terminal& terminal) {
  const Checkpoint checkpoint = open_noted(command.path, command.open, terminal);
  // Cut before loading, so that only the slice is read.
  const TensorView view = sliced(checkpoint.tensor(command.name), command.slice);
  const std::uint64_t head = command.head.value_or(command.json ? UINT64_MAX : 64);
  const Shown values = shown(view, head, command.open);
  const std::optional<Quantizer> quantizer = quantizer_of(checkpoint, view);
  const std::string more = quantizer ? json_members_of(*quantizer) : std::string();
  if (command.json)
    print_json(view, values, more, head, checkpoint.notes(), terminal);
  else
    print_text(view, values, head, terminal);
  if (quantizer && !command.json)
    terminal.out << words_of(*quantizer) << ": a value is (integer - zero point) * scale\n";
  return ok;
}

}  // namespace heft::cli
