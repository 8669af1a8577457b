// cli/hub_cache.hpp: where huggingface_hub keeps its cache, by the user's environment.
#pragma once

#include <filesystem>

namespace heft::cli {

/// HF_HUB_CACHE (or HUGGINGFACE_HUB_CACHE); else `hub` in HF_HOME, in $XDG_CACHE_HOME/huggingface or in ~/.cache/huggingface. Empty without
/// any of these variables and HOME.
std::filesystem::path hub_cache();

}  // namespace heft::cli
