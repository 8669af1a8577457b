#include "cli/hub_cache.hpp"

#include <cstdlib>

namespace heft::cli {
namespace {

// Returns the variable's value; empty if it is not set.
std::filesystem::path variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::filesystem::path() : std::filesystem::path(value);
}

}  // namespace

std::filesystem::path hub_cache() {
  // The variables and their order are those of huggingface_hub's constants.py.
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (auto cache = variable(name); !cache.empty()) return cache;
  if (const auto home = variable("HF_HOME"); !home.empty()) return home / "hub";
  if (const auto caches = variable("XDG_CACHE_HOME"); !caches.empty()) return caches / "huggingface" / "hub";
  if (const auto home = variable("HOME"); !home.empty()) return home / ".cache" / "huggingface" / "hub";
  return {};
}

}  // namespace heft::cli
