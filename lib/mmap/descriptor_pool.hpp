// mmap/descriptor_pool.hpp: a bound on the descriptors that files of one checkpoint keep open.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "mmap/descriptor.hpp"

namespace heft::mmap {

/// Returns how many descriptors this process can have open: soft RLIMIT_NOFILE.
[[nodiscard]] std::uint64_t descriptor_limit() noexcept;

/// Keeps the descriptors that were opened last. A descriptor that it drops is closed when the last user has released
/// it. Members can be called from several threads.
class DescriptorPool {
 public:
  /// Keeps up to `capacity` >= 1 descriptors.
  explicit DescriptorPool(std::size_t capacity) : capacity_(capacity) {}
  /// Returns a pool for the shards of a checkpoint. Its capacity is a quarter of the process's limit, between 4 and
  /// 256: published models have up to some 200 shards, all of which stay open under the usual limit of 1,024.
  static std::shared_ptr<DescriptorPool> for_shards();

  /// Adds a descriptor. Drops the oldest one when the pool is over its capacity.
  void keep(std::shared_ptr<const Descriptor> opened);
  /// Adds a second descriptor of a file, for direct reads. Few are kept, besides the others: it can always be opened
  /// again through the first.
  void keep_direct(std::shared_ptr<const Descriptor> opened);
  /// Drops all second descriptors, or if there are none the older half of the others, for a process that has too many
  /// descriptors open. Returns false when the pool was empty.
  bool give_up_half() noexcept;

 private:
  using Kept = std::deque<std::shared_ptr<const Descriptor>>;  // oldest first
  void keep_in(Kept& kept, std::size_t capacity, std::shared_ptr<const Descriptor> opened);

  const std::size_t capacity_;
  std::mutex mutex_;
  Kept kept_;
  Kept direct_;
};

/// Calls open_at(). While the process has too many descriptors open, drops half of `pool` and calls it again.
Descriptor open_at(int folder, const char* name, int flags, DescriptorPool& pool) noexcept;

}  // namespace heft::mmap
