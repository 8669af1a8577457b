// materialize/budget.hpp: how much memory a load takes, and how many threads. load_budget.hpp computes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "heft/materialize.hpp"
#include "materialize/memory/worker_memory.hpp"
#include "materialize/schedule.hpp"

namespace heft::engine {

/// Files that ask for coarser direct reads than this are read through the page cache. In bytes.
inline constexpr std::uint64_t max_direct_alignment = 64u << 10;

/// Contiguous chunks are read directly in requests of this size, in bytes, that begin and end on multiples of it but
/// for the first and the last: as small as a device is still fast with, for many to be in flight in a ring that stays
/// in the cache. On the way to device memory, where each is written by itself, they are larger: Budget::device_slice,
/// between these two.
inline constexpr std::uint64_t direct_slice = 512u << 10;
inline constexpr std::uint64_t min_device_slice = 1u << 20;
inline constexpr std::uint64_t max_device_slice = 4u << 20;

/// Direct reads of a load that spans no more than this may each be one pread: see Budget::reads_singly. In bytes.
inline constexpr std::uint64_t max_single_read = 1u << 20;

/// Batches of fewer bytes than this are not mapped unless the caller asks for it: entering a mapping takes longer.
inline constexpr std::uint64_t min_mapped_batch = 1u << 20;

/// Where a load's memory goes. In bytes.
struct Budget {
  unsigned threads = 1;
  /// Of MaterializeOptions::destination, or of heft's own.
  Destination::Requirements requirements;
  /// Destination::bytes_for() the entries without a buffer of the caller; 0 when there are none.
  std::uint64_t destination_bytes = 0;
  bool has_device = false;  ///< Some entry goes to a device.
  /// Each worker's buffer for chunks that are read before they are converted or gathered, and for short parts.
  std::uint64_t buffer_bytes = 0;
  /// Maximum bytes of a mapping that each worker populates at once.
  std::uint64_t window_bytes = 0;
  /// Each worker's ring of direct reads; on the way to device memory only bytes that are converted or gathered go
  /// through one. 0: nothing is read directly.
  std::uint64_t ring_bytes = 0;
  /// The direct reads of the load are so few and small that each is one pread: io_uring takes longer to set up.
  bool reads_singly = false;
  /// Each worker's ring of requests to sources of the caller's, for bytes that are not requested in place.
  std::uint64_t request_bytes = 0;
  /// Bytes of a contiguous chunk that go through one staging buffer: a power of two.
  std::uint64_t device_slice = min_device_slice;
  /// Of each staging buffer on the way to device memory, and how many there are for all workers together.
  std::uint64_t staging_buffer_bytes = 0;
  std::size_t staging_buffers = 0;
  /// Staging buffers that a worker's direct reads may hold at most, so that one is left for each worker to write
  /// through.
  std::size_t buffers_a_worker = 0;
  /// Allocated by others, or later: stacks, rings of requests, readers that inflate, tables, windows.
  std::uint64_t reserved_bytes = 0;
  /// Everything together, for all threads, without the memory of the caller's destination.
  std::uint64_t host_bytes = 0;
  /// The same without memory that the system can take back while it is used: the windows.
  std::uint64_t taken_bytes = 0;

  [[nodiscard]] WorkerMemories::Sizes worker_memory() const noexcept { return {threads, buffer_bytes, ring_bytes}; }
  /// Of all staging buffers together.
  [[nodiscard]] std::uint64_t staging_bytes() const noexcept;
};

/// Returns MaterializeOptions::threads, or if that is 0, the number of processors that the process may use.
[[nodiscard]] unsigned asked_threads(const MaterializeOptions& options);

/// The options that a budget depends on.
struct BudgetKey {
  /// `threads` is Budget::threads.
  BudgetKey(const MaterializeOptions& options, unsigned threads);
  friend bool operator==(const BudgetKey& a, const BudgetKey& b) noexcept;
  [[nodiscard]] bool can_be_kept() const noexcept { return destination == nullptr || !owner.expired(); }

  unsigned threads;
  IoMethod io_method;
  std::uint64_t staging_bytes;
  std::uint64_t alignment;
  bool drop_page_cache;
  const Destination* destination;
  std::weak_ptr<const Destination> owner;  ///< Another destination may get the address of one that was destroyed.
};

}  // namespace heft::engine
