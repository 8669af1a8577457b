// cli/reading.hpp: the options of a command that reads all tensors.
#pragma once

#include <string>

#include "cli/select.hpp"
#include "cli/terminal.hpp"
#include "heft/materialize.hpp"

namespace heft::cli {

/// Returns the options of a load that reads by the method `io` (see io_method_from()) and moves `bar`, which outlives
/// the load. An interrupt ends the load.
inline MaterializeOptions reading_options(const std::string& io, Access access, ProgressBar& bar) {
  return {.progress = [&bar](const Progress& progress) { bar.show(progress.bytes_done, progress.bytes_total); },
          .io_method = io_method_from(io, access)};
}

}  // namespace heft::cli
