#include <atomic>
#include <deque>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/freshness.hpp"
#include "cli/notes.hpp"
#include "cli/reading.hpp"
#include "cli/text.hpp"
#include "cli/values.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "kernels/non_finite.hpp"
#include "save/pieces.hpp"

namespace heft::cli {
namespace {

struct Findings {
  std::uint64_t tensors = 0;
  std::uint64_t checksums = 0;   // records with a wrong checksum
  std::uint64_t unread = 0;      // tensors of dtypes without readable values
  std::uint64_t non_finite = 0;  // tensors with NaN or infinity
  std::uint64_t nan = 0;
  std::uint64_t inf = 0;
};

// Returns true for errors of the file, which another download can fix; other errors are those of this run.
bool is_damage(ErrorCode code) noexcept {
  return code == ErrorCode::corrupt || code == ErrorCode::ambiguous || code == ErrorCode::changed_on_disk ||
         code == ErrorCode::unrecognized;
}

// A tensor to read, and the values that were found in it.
struct Reading {
  TensorView view;
  std::atomic<std::uint64_t> nan = 0;
  std::atomic<std::uint64_t> inf = 0;
};

// Counts the values of a piece that are not finite. Called by several threads.
void count_non_finite(const Tensor& values, Reading& reading) {
  if (!kernels::has_non_finite_kernel(values.dtype())) return;
  const std::uint64_t count = values.size_bytes() / info(values.dtype()).block_bytes;
  const kernels::NonFinite found = kernels::count_non_finite(values.dtype(), values.bytes().data(), count);
  // Relaxed: the end of the load orders the sums before they are read.
  if (found.nan != 0) reading.nan.fetch_add(found.nan, std::memory_order_relaxed);
  if (found.inf != 0) reading.inf.fetch_add(found.inf, std::memory_order_relaxed);
}

// Writes a line about a tensor with values that are not finite.
void report(const Reading& reading, const VerifyCommand& command, Terminal& terminal) {
  const std::string_view name = reading.view.name();
  if (command.json)
    terminal.out << fmt::format("{{\"name\":{},\"nan\":{},\"inf\":{}}}\n", json_text(name), reading.nan.load(),
                                reading.inf.load());
  else
    terminal.out << fmt::format("{}: {} NaN, {} infinite of {}\n", core::escaped(name), reading.nan.load(),
                                reading.inf.load(), reading.view.element_count());
}

// Writes a line for each record of a zip whose checksum is wrong, and returns their number.
std::uint64_t check_checksums(const Checkpoint& checkpoint, const VerifyCommand& command, Terminal& terminal) {
  const std::vector<Damage> damages = checkpoint.verify_checksums();
  for (const Damage& damage : damages) {
    if (command.json)
      terminal.out << fmt::format("{{\"name\":{},\"damage\":{}}}\n", json_text(damage.tensor),
                                  json_text(damage.message));
    else
      terminal.out << fmt::format("{}: tensor '{}': {}\n", core::escaped(damage.path, 1000),
                                  core::escaped(damage.tensor), core::printable(damage.message));
  }
  return damages.size();
}

// Adds all tensors with bytes, in a dtype that shows their values where there is one. Every payload byte is read once,
// also without values to check, because an unreadable sector is damage.
void add_tensors(const Checkpoint& checkpoint, writer::Pieces& pieces, std::deque<Reading>& readings,
                 Findings& findings) {
  for (const TensorView& view : checkpoint.tensors()) {
    ++findings.tensors;
    if (!view.has_data()) continue;
    const std::optional<DType> dtype = readable_as(view.dtype());
    if (!dtype) ++findings.unread;
    pieces.add(view, dtype.value_or(view.wanted_dtype()), writer::window_bytes_of(view));
    readings.emplace_back(view);
  }
}

// Reads all payload, writes a line for each finding and returns their sums.
Findings check_payload(const Checkpoint& checkpoint, const VerifyCommand& command, Terminal& terminal) {
  Findings findings;
  findings.checksums = check_checksums(checkpoint, command, terminal);
  writer::Pieces pieces(command.open.limits);
  std::deque<Reading> readings;
  add_tensors(checkpoint, pieces, readings, findings);
  const engine::Windows windows = pieces.windows();
  std::vector<std::string> notes;
  {
    ProgressBar bar(terminal, "verifying");
    notes = pieces.visit(reading_options(command.io, command.open.access, bar), windows, [&](engine::Window window) {
      const std::span<const std::uint32_t> numbers = windows[window.number()];
      for (std::size_t i = 0; i < numbers.size(); ++i)
        count_non_finite(window.tensors()[i], readings[pieces[numbers[i]].tensor]);
    });
  }
  print_notes(notes, terminal);
  for (const Reading& reading : readings) {
    if (reading.nan + reading.inf == 0) continue;
    findings.nan += reading.nan;
    findings.inf += reading.inf;
    ++findings.non_finite;
    report(reading, command, terminal);
  }
  return findings;
}

// Writes the last line and returns the exit status.
int verdict(const Findings& findings, std::span<const std::string> notes, const VerifyCommand& command,
            Terminal& terminal) {
  // Values that are not finite are damage unless the user has allowed them; a wrong checksum always is.
  const bool damaged = findings.checksums > 0 || (findings.non_finite > 0 && !command.allow_non_finite);
  if (command.json)
    terminal.out << fmt::format("{{\"sound\":{},\"tensors\":{},\"checksums\":{},\"nan\":{},\"inf\":{},\"notes\":{}}}\n",
                                !damaged, findings.tensors, findings.checksums, findings.nan, findings.inf,
                                json_texts(notes));
  else
    terminal.out << fmt::format(
        "{}: {}, {} with NaN or infinite values, {} with a wrong checksum{}\n", damaged ? "damaged" : "sound",
        core::counted(findings.tensors, "tensor"), findings.non_finite, core::counted(findings.checksums, "record"),
        findings.unread > 0 ? fmt::format(", {} of dtypes without readable values", findings.unread) : "");
  return damaged ? differences : ok;
}

}  // namespace

int run(const VerifyCommand& command, Terminal& terminal) {
  watch_interrupts();
  try {
    const Checkpoint checkpoint = open_noted(command.path, command.open, terminal);
    const Findings findings = check_payload(checkpoint, command, terminal);
    note_freshness(checkpoint, terminal);
    return verdict(findings, checkpoint.notes(), command, terminal);
  } catch (const Error& error) {
    // Damage is a result of this command, with status 1. A missing file or short memory stays an error, with status 2.
    if (!is_damage(error.code())) throw;
    terminal.err << "heft: " << error.what() << '\n';
    if (command.json)
      terminal.out << fmt::format("{{\"sound\":false,\"error\":{}}}\n", json_text(error.what()));
    else
      terminal.out << "damaged\n";
    return differences;
  }
}

}  // namespace heft::cli
