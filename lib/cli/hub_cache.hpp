// cli/hub_cache.hpp: finds the cache of huggingface_hub from the environment.
#pragma once

#include <filesystem>

namespace heft::cli {

/// Returns HF_HUB_CACHE (or HUGGINGFACE_HUB_CACHE); else `hub` in HF_HOME, in $XDG_CACHE_HOME/huggingface or in
/// ~/.cache/huggingface. Empty if none of these variables and HOME are set.
std::filesystem::path hub_cache();

}  // namespace heft::cli
