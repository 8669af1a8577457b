// bench/maker/cache.hpp: checkpoints made once, kept in a folder, and found again.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "maker/model.hpp"

namespace bench {

enum class Format { safetensors, torch, torch_legacy, gguf, burn_lists, burn_lists_gzip };

/// "safetensors", "torch", "torch-legacy", "gguf", "burn-lists", "burn-lists-gzip". Throws std::runtime_error for another word.
Format format_from_name(std::string_view name);

/// $XDG_CACHE_HOME/heft-bench, or ~/.cache/heft-bench.
std::filesystem::path default_cache();

/// Path of that checkpoint in `cache`: made now when it is not there, with a progress bar. It appears whole or not at
/// all. Throws std::runtime_error when the recipe names no model, the folder cannot be written, or the disk has not the
/// space. Without a format it is made as it is published.
std::filesystem::path checkpoint_in(const std::filesystem::path& cache, const Recipe& recipe,
                                    std::optional<Format> format);

}  // namespace bench
