// mmap/descriptor_pool.hpp: the descriptors of files that belong together, of which few are open at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "mmap/descriptor.hpp"

namespace heft::mmap {

/// How many descriptors this process may have open: soft RLIMIT_NOFILE.
[[nodiscard]] std::uint64_t descriptor_limit() noexcept;

/// Keeps the descriptors opened last. What it lets go is closed once its last user has let go too. Members may be
/// called from several threads.
class DescriptorPool {
 public:
  /// Keeps up to `capacity` >= 1 descriptors.
  explicit DescriptorPool(std::size_t capacity) : capacity_(capacity) {}
  /// For the shards of a checkpoint: a quarter of what the process may have open, 4 to 256. Models that are published
  /// have up to some 200 shards, all of which stay open under the usual limit of 1,024.
  static std::shared_ptr<DescriptorPool> for_shards();

  /// Keeps a descriptor, in place of the one kept longest where there are too many.
  void keep(std::shared_ptr<const Descriptor> opened);
  /// Lets half of them go: the process has too many open. False: there was none.
  bool give_up_half() noexcept;

 private:
  const std::size_t capacity_;
  std::mutex mutex_;
  std::deque<std::shared_ptr<const Descriptor>> kept_;  // oldest first
};

/// open_at(), with room made in `pool` as long as the process has too many open.
Descriptor open_at(int folder, const char* name, int flags, DescriptorPool& pool) noexcept;

}  // namespace heft::mmap
