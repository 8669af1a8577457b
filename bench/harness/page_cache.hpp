// bench/harness/page_cache.hpp: sets the page cache state of files, and verifies it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace bench {

enum class CacheState {
  cold,  ///< Dropped with POSIX_FADV_DONTNEED.
  warm,  ///< Read, all resident.
  half,  ///< Every second 16 MiB resident.
};

std::string_view name(CacheState state) noexcept;
/// Throws std::runtime_error.
CacheState cache_state_from_name(std::string_view name);

/// The first `bytes` bytes of a file.
struct Extent {
  std::filesystem::path path;
  std::uint64_t bytes = 0;
};

/// Returns the regular files of a checkpoint, whole: the file itself, or those in the folder.
std::vector<Extent> files_of(const std::filesystem::path& checkpoint);

/// Sets the state and verifies it with mincore. Throws std::runtime_error if the state is not reached (another process
/// maps the files, or memory is short).
void set_cache_state(CacheState state, const std::vector<Extent>& files);

/// Returns the share of their pages that is resident, 0 to 1.
double resident_share(const std::vector<Extent>& files);

}  // namespace bench
