// bench/maker/cache.hpp: a folder that keeps generated checkpoints for later runs.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "maker/model.hpp"

namespace bench {

enum class Format { safetensors, torch, torch_legacy, gguf, burn_lists, burn_lists_gzip };

/// Parses "safetensors", "torch", "torch-legacy", "gguf", "burn-lists", "burn-lists-gzip". Throws std::runtime_error
/// for another word.
Format format_from_name(std::string_view name);

/// Returns $XDG_CACHE_HOME/heft-bench, or ~/.cache/heft-bench.
std::filesystem::path default_cache();

/// Returns the path of a checkpoint in `cache`. Makes it, with a progress bar, if it does not exist; it is renamed to
/// its path when it is complete. Without a format, uses the one of the published model. Throws std::runtime_error if
/// the recipe names no model, the folder cannot be written, or the disk has too little space.
std::filesystem::path checkpoint_in(const std::filesystem::path& cache, const Recipe& recipe,
                                    std::optional<Format> format);

}  // namespace bench
