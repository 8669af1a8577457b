#include <map>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/freshness.hpp"
#include "cli/notes.hpp"
#include "cli/select.hpp"
#include "cli/sha256.hpp"
#include "core/text.hpp"
#include "heft/materialize.hpp"
#include "heft/stream.hpp"
#include "save/pieces.hpp"

namespace heft::cli {
namespace {

// Large enough that the work for each piece is negligible, small enough that several are in memory at once.
constexpr std::uint64_t piece_bytes = 16u << 20;

// Returns the tensors of the given names, each once, or all tensors. Throws Error{not_found} for an unknown name.
std::vector<TensorView> wanted(const Checkpoint& checkpoint, const std::vector<std::string>& names) {
  std::vector<TensorView> views;
  if (names.empty())
    for (const TensorView& view : checkpoint.tensors()) views.push_back(view);
  for (const std::string& name : std::set<std::string>(names.begin(), names.end()))
    views.push_back(checkpoint.tensor(name));
  return views;
}

}  // namespace

int run(const HashCommand& command, Terminal& terminal) {
  const Checkpoint checkpoint = open_noted(command.path, command.open, terminal);
  watch_interrupts();
  writer::Pieces pieces(command.open.limits, piece_bytes);
  std::vector<std::string> names;
  std::vector<std::string> notes;
  for (const TensorView& view : wanted(checkpoint, command.names)) {
    // A digest of no bytes would equal that of an empty tensor.
    if (view.has_data()) {
      // In the dtype of the file: the digest is that of the stored elements, whatever their layout in the file.
      pieces.add(view, view.wanted_dtype());
      names.emplace_back(view.name());
    } else {
      notes.push_back(fmt::format("'{}' has a shape but no bytes: not hashed", core::escaped(view.name())));
    }
  }
  print_notes(notes, terminal);
  // Sorted by name: the output of two files with the same tensors in another order is equal.
  std::map<std::string, std::string> digests;
  std::vector<std::string> load_notes;
  {
    ProgressBar bar(terminal, "hashing");
    std::uint64_t done = 0;
    const std::uint64_t total = pieces.size_bytes();
    std::optional<Sha256> hash;  // of a tensor with some pieces hashed
    load_notes = pieces.for_each({.io_method = io_method_from(command.io, command.open.access)},
                                 StreamOptions{}.in_flight_bytes, [&](const writer::Pieces::Piece& piece) {
                                   // Pieces of one tensor follow each other, so one state is enough.
                                   if (!hash) hash.emplace();
                                   hash->add(piece.values.bytes());
                                   // Throws after an interrupt, which ends the stream.
                                   bar.show(done += piece.values.size_bytes(), total);
                                   if (!piece.is_last) return;
                                   digests.emplace(names[piece.tensor], hash->digest());
                                   hash.reset();
                                 });
  }
  print_notes(load_notes, terminal);
  note_freshness(checkpoint, terminal);
  for (const auto& [name, digest] : digests) terminal.out << digest << "  " << core::escaped(name, SIZE_MAX) << '\n';
  return ok;
}

}  // namespace heft::cli
