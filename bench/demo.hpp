// bench/demo.hpp: a demonstration of the main job: a checkpoint's contents, one slice, a whole load, and its time and
// memory.
#pragma once

#include <filesystem>

namespace bench {

/// Prints to standard output, and a progress bar to standard error. Throws heft::Error for a path that heft cannot
/// open.
void show(const std::filesystem::path& checkpoint, unsigned threads);

}  // namespace bench
