// bench/harness/page_cache.hpp: brings files into a known state of the page cache, and proves it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace bench {

enum class CacheState {
  cold,  ///< Dropped with POSIX_FADV_DONTNEED.
  warm,  ///< Read, all resident.
  half,  ///< Every other 16 MiB resident.
};

std::string_view name(CacheState state) noexcept;
/// Throws std::runtime_error.
CacheState cache_state_from_name(std::string_view name);

/// The first `bytes` bytes of a file.
struct Extent {
  std::filesystem::path path;
  std::uint64_t bytes = 0;
};

/// The regular files of a checkpoint (itself, or those in the folder), whole.
std::vector<Extent> files_of(const std::filesystem::path& checkpoint);

/// Brings them there and checks with mincore; throws std::runtime_error when the kernel did not follow (another process
/// maps the files, or there is not enough memory).
void bring_to(CacheState state, const std::vector<Extent>& files);

/// Share of their pages that is resident, 0 to 1.
double resident_share(const std::vector<Extent>& files);

}  // namespace bench
