#include "cli/freshness.hpp"

#include <ostream>
#include <string_view>

#include "core/text.hpp"
#include "heft/error.hpp"

namespace heft::cli {
namespace {

// Returns the end of the note: "PATH was removed meanwhile ...".
std::string_view message(Freshness freshness) noexcept {
  switch (freshness) {
    case Freshness::modified: return "was written to after it was read";
    case Freshness::replaced: return "was replaced meanwhile: what was read is the old one";
    case Freshness::gone: return "was removed meanwhile: what was read is as it was opened";
    case Freshness::same: break;
  }
  return {};
}

}  // namespace

void note_freshness(const Checkpoint& checkpoint, Terminal& terminal) {
  try {
    // Asks by path, which the checks during the load do not: they see only files that are open.
    const Freshness freshness = checkpoint.freshness();
    if (freshness != Freshness::same)
      terminal.err << "note: " << core::escaped(checkpoint.path(), 1000) << ' ' << message(freshness) << '\n';
  } catch (const Error& error) {
    // The command has succeeded, so a failed look at the files is no Error.
    terminal.err << "note: " << error.what() << '\n';
  }
}

}  // namespace heft::cli
