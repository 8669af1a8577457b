// bench/demo.hpp: the main job, shown in a minute: what is in a checkpoint, one slice of it, all of it in memory, and
// what that took.
#pragma once

#include <filesystem>

namespace bench {

/// Prints to standard output; a bar on standard error. Throws heft::Error for a path that heft cannot open.
void show(const std::filesystem::path& checkpoint, unsigned threads);

}  // namespace bench
