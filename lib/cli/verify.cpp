#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/freshness.hpp"
#include "cli/notes.hpp"
#include "cli/select.hpp"
#include "cli/text.hpp"
#include "cli/values.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "heft/stream.hpp"
#include "save/pieces.hpp"

namespace heft::cli {
namespace {

constexpr std::uint64_t piece_bytes = 16u << 20;

struct Findings {
  std::uint64_t tensors = 0;
  std::uint64_t checksums = 0;   // records with a wrong checksum
  std::uint64_t unread = 0;      // tensors of dtypes without readable values
  std::uint64_t non_finite = 0;  // tensors with NaN or infinity
  std::uint64_t nan = 0;
  std::uint64_t inf = 0;
};

// Returns true for dtypes whose elements can be NaN or infinite. Those of blocks can be by their scales.
bool can_be_non_finite(DType dtype) noexcept {
  const DTypeCategory category = info(dtype).category;
  return category == DTypeCategory::real || category == DTypeCategory::complex || category == DTypeCategory::block;
}

// Returns true for errors of the file, which another download can fix; other errors are those of this run.
bool is_damage(ErrorCode code) noexcept {
  return code == ErrorCode::corrupt || code == ErrorCode::ambiguous || code == ErrorCode::changed_on_disk ||
         code == ErrorCode::unrecognized;
}

// Writes a line about a tensor with values that are not finite.
void report(std::string_view tensor, const Statistics& statistics, const VerifyCommand& command, Terminal& terminal) {
  if (command.json)
    terminal.out << fmt::format("{{\"name\":{},\"nan\":{},\"inf\":{}}}\n", json_text(tensor), statistics.nan,
                                statistics.inf);
  else
    terminal.out << fmt::format("{}: {} NaN, {} infinite of {}\n", core::escaped(tensor), statistics.nan,
                                statistics.inf, statistics.count);
}

// The tensors to read, and their names. Every payload byte is read once, also without values to check, because an
// unreadable sector is damage.
struct Reading {
  writer::Pieces pieces;
  std::vector<std::string> names;
};

// Returns all tensors with bytes, in a dtype that shows their values where there is one.
Reading reading_of(const Checkpoint& checkpoint, const Limits& limits, Findings& findings) {
  Reading reading{.pieces = writer::Pieces(limits, piece_bytes), .names = {}};
  for (const TensorView& view : checkpoint.tensors()) {
    ++findings.tensors;
    if (!view.has_data()) continue;
    const std::optional<DType> dtype = readable_as(view.dtype());
    if (!dtype) ++findings.unread;
    reading.pieces.add(view, dtype.value_or(view.wanted_dtype()));
    reading.names.emplace_back(view.name());
  }
  return reading;
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

// Reads all payload, writes a line for each finding and returns their sums.
Findings check_payload(const Checkpoint& checkpoint, const VerifyCommand& command, Terminal& terminal) {
  Findings findings;
  findings.checksums = check_checksums(checkpoint, command, terminal);
  Reading reading = reading_of(checkpoint, command.open.limits, findings);
  ProgressBar bar(terminal, "verifying");
  std::uint64_t done = 0;
  const std::uint64_t total = reading.pieces.size_bytes();
  Statistics sum;  // of a tensor with some pieces read
  const auto check = [&](const writer::Pieces::Piece& piece) {
    // Throws after an interrupt, which ends the stream.
    bar.show(done += piece.values.size_bytes(), total);
    if (!can_be_non_finite(piece.values.dtype())) return;
    const Statistics found = statistics_of(piece.values);
    // Pieces of one tensor follow each other, so one sum is enough.
    sum.count += found.count;
    sum.nan += found.nan;
    sum.inf += found.inf;
    if (!piece.is_last) return;
    const Statistics statistics = std::exchange(sum, {});
    findings.nan += statistics.nan;
    findings.inf += statistics.inf;
    if (statistics.nan + statistics.inf == 0) return;
    ++findings.non_finite;
    report(reading.names[piece.tensor], statistics, command, terminal);
  };
  const std::vector<std::string> notes = reading.pieces.for_each(
      {.io_method = io_method_from(command.io, command.open.access)}, StreamOptions{}.in_flight_bytes, check);
  print_notes(notes, terminal);
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
