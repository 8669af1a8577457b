// cli/arguments.hpp: parses the command line into a Command. The only user of CLI11.
#pragma once

#include "cli/commands.hpp"

namespace heft::cli {

/// Returns the command. Throws Error{out_of_range} with the mistake and how to get help.
Command parse(int argc, const char* const* argv);

}  // namespace heft::cli
