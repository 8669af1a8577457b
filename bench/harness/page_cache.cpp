#include "harness/page_cache.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

#include "harness/descriptor.hpp"

namespace bench {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t stripe_bytes = std::uint64_t{16} << 20;
constexpr std::array<std::string_view, 3> state_names = {"cold", "warm", "half"};

void drop(const Descriptor& file) {
  ::fdatasync(file.number());  // dirty pages cannot be dropped
  ::posix_fadvise(file.number(), 0, 0, POSIX_FADV_DONTNEED);
}

void read_range(const Descriptor& file, std::uint64_t begin, std::uint64_t end) {
  static std::vector<std::byte> buffer(std::size_t{1} << 20);
  while (begin < end) {
    const std::size_t wanted = std::min<std::uint64_t>(buffer.size(), end - begin);
    const ssize_t got = ::pread(file.number(), buffer.data(), wanted, static_cast<off_t>(begin));
    if (got <= 0) return;
    begin += static_cast<std::uint64_t>(got);
  }
}

struct Pages {
  std::uint64_t resident = 0;
  std::uint64_t all = 0;
};

Pages pages_of(const Extent& extent) {
  if (extent.bytes == 0) return {};
  const Descriptor file(extent.path);
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> state((extent.bytes + page - 1) / page);
  void* mapped = ::mmap(nullptr, extent.bytes, PROT_READ, MAP_SHARED, file.number(), 0);
  if (mapped == MAP_FAILED)
    throw std::runtime_error(fmt::format("mmap(\"{}\"): {}", extent.path.string(), std::strerror(errno)));
  const bool known = ::mincore(mapped, extent.bytes, state.data()) == 0;
  ::munmap(mapped, extent.bytes);
  if (!known) throw std::runtime_error(fmt::format("mincore(\"{}\"): {}", extent.path.string(), std::strerror(errno)));
  return {static_cast<std::uint64_t>(
              std::count_if(state.begin(), state.end(), [](unsigned char s) { return (s & 1) != 0; })),
          state.size()};
}

bool is_whole(const Pages& pages) { return pages.resident == pages.all; }

void set_file_state(CacheState state, const Extent& extent) {
  const Descriptor file(extent.path);
  // The warm state is made by one sequential read. Pages that were read one by one, as in `half`, are slower to map and
  // to copy, so they are dropped first.
  if (state != CacheState::warm || !is_whole(pages_of(extent))) drop(file);
  if (state == CacheState::warm) read_range(file, 0, extent.bytes);
  if (state != CacheState::half) return;
  ::posix_fadvise(file.number(), 0, 0, POSIX_FADV_RANDOM);  // no readahead beyond the end of a stripe
  for (std::uint64_t begin = 0; begin < extent.bytes; begin += 2 * stripe_bytes)
    read_range(file, begin, std::min(begin + stripe_bytes, extent.bytes));
}

bool is_reached(CacheState state, double share, std::uint64_t bytes) {
  switch (state) {
    case CacheState::cold: return share < 0.01;
    case CacheState::warm: return share > 0.999;
    case CacheState::half: return bytes < 8 * stripe_bytes || (share > 0.4 && share < 0.6);
  }
  return false;
}

}  // namespace

std::string_view name(CacheState state) noexcept { return state_names[static_cast<std::size_t>(state)]; }

CacheState cache_state_from_name(std::string_view name) {
  const auto* found = std::find(state_names.begin(), state_names.end(), name);
  if (found == state_names.end())
    throw std::runtime_error(fmt::format("expected cold, warm or half as a state of the page cache, found '{}'", name));
  return static_cast<CacheState>(found - state_names.begin());
}

std::vector<Extent> files_of(const fs::path& checkpoint) {
  if (!fs::is_directory(checkpoint)) return {{checkpoint, fs::file_size(checkpoint)}};
  std::vector<Extent> out;
  for (const fs::directory_entry& entry : fs::directory_iterator(checkpoint))
    if (entry.is_regular_file()) out.push_back({entry.path(), entry.file_size()});
  std::sort(out.begin(), out.end(), [](const Extent& a, const Extent& b) { return a.path < b.path; });
  return out;
}

double resident_share(const std::vector<Extent>& files) {
  Pages sum;
  for (const Extent& extent : files) {
    const Pages pages = pages_of(extent);
    sum.resident += pages.resident;
    sum.all += pages.all;
  }
  return sum.all == 0 ? 1 : static_cast<double>(sum.resident) / static_cast<double>(sum.all);
}

void set_cache_state(CacheState state, const std::vector<Extent>& files) {
  std::uint64_t bytes = 0;
  for (const Extent& extent : files) bytes += extent.bytes;
  double share = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {  // pages under writeback or in a CPU's batch survive the first drop
    for (const Extent& extent : files) set_file_state(state, extent);
    share = resident_share(files);
    if (is_reached(state, share, bytes)) return;
  }
  throw std::runtime_error(fmt::format("{}: expected the page cache to be {}, found {:.1f} % resident",
                                       files.front().path.string(), name(state), share * 100));
}

}  // namespace bench
