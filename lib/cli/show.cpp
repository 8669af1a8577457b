#include <algorithm>
#include <ostream>
#include <span>
#include <string>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/notes.hpp"
#include "cli/quantizer.hpp"
#include "cli/select.hpp"
#include "cli/text.hpp"
#include "cli/values.hpp"
#include "core/text.hpp"

namespace heft::cli {
namespace {

// Writes the first `most` values as JSON.
template <class Write>
void each_value(const Tensor& tensor, std::uint64_t most, Write write) {
  visit_elements(tensor, [&](const auto elements) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(most, elements.size()));
    for (std::size_t i = 0; i < count; ++i) write(i, json_value(elements[i]));
  });
}

// Returns the number, or null if there is none.
std::string json_or_null(const std::optional<double>& value) { return value ? json_number(*value) : "null"; }

// Writes one object. `more` are members of the quantizer, with a comma in front.
void print_json(const TensorView& view, const Tensor& tensor, const Statistics& statistics, const std::string& more,
                std::uint64_t head, std::span<const std::string> notes, Terminal& terminal) {
  terminal.out << fmt::format("{{\"name\":{},\"dtype\":{},\"shape\":{},\"values\":[", json_text(view.name()),
                              json_text(view.dtype_name()), json_dims(view.shape()));
  // Written value by value: the text of a tensor is several times its size.
  each_value(tensor, head,
             [&](std::size_t i, const std::string& value) { terminal.out << (i > 0 ? "," : "") << value; });
  terminal.out << fmt::format("],\"min\":{},\"max\":{},\"mean\":{},\"nan\":{},\"inf\":{}{}{}}}\n",
                              json_or_null(statistics.min), json_or_null(statistics.max), json_or_null(statistics.mean),
                              statistics.nan, statistics.inf, more,
                              notes.empty() ? "" : fmt::format(",\"notes\":{}", json_texts(notes)));
}

// Writes values in rows of the innermost dim, cut at the width of a line.
void print_values(const Tensor& tensor, std::uint64_t head, Terminal& terminal) {
  const std::size_t rank = tensor.shape().rank();
  const auto row = static_cast<std::size_t>(rank == 0 ? 1 : std::max<std::int64_t>(tensor.shape()[rank - 1], 1));
  // Rows longer than eight values continue on the next line.
  const std::size_t per_line = std::min<std::size_t>(row, 8);
  each_value(tensor, head, [&](std::size_t i, const std::string& value) {
    // The position in the row decides, so that each row starts a line.
    const bool begins = i % row % per_line == 0;
    if (begins && i > 0) terminal.out << '\n';
    terminal.out << "  " << value;
  });
  terminal.out << '\n';
  if (tensor.element_count() > head) terminal.out << "  ... " << tensor.element_count() - head << " more\n";
}

// Writes a heading, the first values and the statistics.
void print_text(const TensorView& view, const Tensor& tensor, const Statistics& statistics, std::uint64_t head,
                Terminal& terminal) {
  terminal.out << fmt::format("{}: {} {}, {}\n", core::escaped(view.name()), core::escaped(view.dtype_name()),
                              to_string(view.shape()), human_bytes(view.size_bytes()));
  print_values(tensor, head, terminal);
  // None for tensors without finite values, and for complex numbers, which have no order.
  if (statistics.min && statistics.max && statistics.mean)
    terminal.out << fmt::format("min {}, max {}, mean {} (of finite values), ", *statistics.min, *statistics.max,
                                *statistics.mean);
  terminal.out << fmt::format("{} NaN, {} infinite\n", statistics.nan, statistics.inf);
}

}  // namespace

int run(const ShowCommand& command, Terminal& terminal) {
  const Checkpoint checkpoint = open_noted(command.path, command.open, terminal);
  // Cut before loading, so that only the slice is read.
  const TensorView view = sliced(checkpoint.tensor(command.name), command.slice);
  const Tensor tensor = readable(view);
  // Of all values, also if only the first are printed.
  const Statistics statistics = statistics_of(tensor);
  const std::optional<Quantizer> quantizer = quantizer_of(checkpoint, view);
  const std::string more = quantizer ? json_members_of(*quantizer) : std::string();
  if (command.json)
    print_json(view, tensor, statistics, more, command.head.value_or(UINT64_MAX), checkpoint.notes(), terminal);
  else
    print_text(view, tensor, statistics, command.head.value_or(64), terminal);
  if (quantizer && !command.json)
    terminal.out << words_of(*quantizer) << ": a value is (integer - zero point) * scale\n";
  return ok;
}

}  // namespace heft::cli
