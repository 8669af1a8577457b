// cli/freshness.hpp: notes about files that were changed or replaced while a command ran.
#pragma once

#include "cli/terminal.hpp"
#include "heft/checkpoint.hpp"

namespace heft::cli {

/// Writes notes to stderr if a path now leads to another file or cannot be examined. The command has read the file as
/// it was opened. Call after the last read of a command.
void note_freshness(const Checkpoint& checkpoint, Terminal& terminal);

}  // namespace heft::cli
