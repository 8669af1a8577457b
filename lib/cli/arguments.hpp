// cli/arguments.hpp: from the words of the command line to a Command. The only user of CLI11.
#pragma once

#include "cli/commands.hpp"

namespace heft::cli {

/// Throws Error{out_of_range} saying what is wrong with the words and how to get help.
Command parse(int argc, const char* const* argv);

}  // namespace heft::cli
