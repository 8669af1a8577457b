// cli/freshness.hpp: a word about files that are not those that were opened any more.
#pragma once

#include "cli/terminal.hpp"
#include "heft/checkpoint.hpp"

namespace heft::cli {

/// After the last read of a command: notes on stderr that the path leads to something else by now, or that it cannot be
/// examined. What was read is the file as it was opened.
void note_freshness(const Checkpoint& checkpoint, Terminal& terminal);

}  // namespace heft::cli
