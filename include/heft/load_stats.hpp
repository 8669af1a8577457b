// heft/load_stats.hpp: statistics of a load for operators, returned as a value. heft prints nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "heft/export.hpp"

namespace heft {

/// A method to copy bytes from a file into memory.
enum class IoMethod : std::uint8_t {
  /// Chosen for each byte range by its residency in the page cache and the size of its pages. Never the value of an
  /// IoUse.
  automatic,
  /// Copied from the mapping, window by window: each window is populated before and released after, and only while a
  /// lease prevents the file from shrinking. Fastest for bytes that are resident on huge pages and are converted in
  /// order, or are copied into resident memory.
  map,
  /// Read with O_DIRECT, past the page cache, with many requests in flight. Fastest for bytes that are not resident.
  direct,
  /// Read by pread through the page cache, in place or into a buffer that fits the processor's cache. Fastest for all
  /// other resident bytes: copied into fresh memory, on small pages, gathered or transposed, or for device memory. Used
  /// also where mappings, leases or O_DIRECT are unavailable.
  read,
};

/// Returns "automatic", "map", "direct" or "read".
HEFT_API std::string_view name(IoMethod method) noexcept;

/// The reason why a byte range was read by its method.
enum class IoReason : std::uint8_t {
  /// MaterializeOptions::io_method forced it.
  asked,
  /// The page cache contains it: read, or mapped where that is faster.
  resident,
  /// The page cache does not contain it: read from the device.
  not_resident,
  /// It is not in a file: the caller's memory, or a record that was inflated whole. Counted as `map`.
  in_memory,
  /// There is no mapping: the checkpoint was opened with Access::read, or the system refused to map the file (see
  /// Checkpoint::notes()).
  access_read,
  /// The kernel refused a lease on the file, so that its size can change during the copy and access can raise SIGBUS.
  no_lease,
  /// The kernel lacks or refuses MADV_POPULATE_READ, without which access to a mapping can raise SIGBUS.
  no_populate,
  /// The file system or the sandbox refuses O_DIRECT.
  no_direct,
  /// The bytes go to device memory, which can delay a copy from a mapping for longer than the kernel grants a lease.
  device_destination,
  /// Computed while it is read: inflated, or gathered from a list of numbers. Counted as `read`, in bytes of the
  /// result.
  made,
  /// Requested from a ByteSource of the caller that is neither a file nor memory. Counted as `read`.
  requested,
};

/// Returns the reason's name as it is spelled in the source: "resident", "no_lease", ...
HEFT_API std::string_view name(IoReason reason) noexcept;

/// The bytes that were read by one method for one reason.
struct IoUse {
  IoMethod method = IoMethod::map;
  IoReason reason = IoReason::asked;
  std::uint64_t bytes = 0;
};

/// Statistics of a load. A value: returned by Weights::stats() and TensorStream::stats(). Seconds are wall time, except
/// those of members named `worker`, which are summed over the threads.
///
/// Example:
///   const heft::LoadStats& stats = weights.stats();
///   std::cout << stats.bytes_read / stats.seconds / 1e9 << " GB/s by " << stats.threads << " threads\n";
///   for (const std::string& note : stats.notes) std::cerr << "note: " << note << '\n';
struct LoadStats {
  /// Source bytes fetched: equals LoadEstimate::bytes_read.
  std::uint64_t bytes_read = 0;
  /// Destination bytes filled: equals LoadEstimate::bytes_written.
  std::uint64_t bytes_written = 0;
  /// The bytes of each method and reason, each pair once. Their sum is bytes_read.
  std::vector<IoUse> io_uses;
  /// Number of ranges for which the chosen method failed and which were read by `read` instead.
  std::uint64_t fallbacks = 0;
  /// System calls that were refused and that the load replaced, each once, for people: "io_uring_setup: Operation not
  /// permitted".
  std::vector<std::string> notes;
  /// Bytes read in addition to bytes_read: alignment of O_DIRECT, gaps that a device reads faster than it skips.
  std::uint64_t over_read = 0;
  /// Bytes evicted from the page cache: MaterializeOptions::drop_page_cache.
  std::uint64_t dropped_bytes = 0;

  /// Number of units of work in the load.
  std::uint64_t ranges = 0;
  /// Number of threads that worked, the calling one included.
  unsigned threads = 0;
  /// Peak of the staging memory in use, in bytes.
  std::uint64_t peak_staging_bytes = 0;
  /// Bytes of destination memory that heft allocated; 0 with MaterializeOptions::destination.
  std::uint64_t arena_bytes = 0;
  /// Host memory that the load allocated, and reserved for its threads and tables: equals LoadEstimate::host_bytes,
  /// unless memory was short, or other loads of the process had taken the processors.
  std::uint64_t host_bytes = 0;
  /// Bytes that MaterializeOptions::destination was asked for: equals LoadEstimate::device_bytes.
  std::uint64_t device_bytes = 0;

  /// Seconds of the whole call.
  double seconds = 0;
  /// Seconds for compiling the plan, probing residency and allocating.
  double plan_seconds = 0;
  /// Seconds for reading and copying.
  double load_seconds = 0;
  /// Seconds, summed over threads, of populating, reading and waiting for the device.
  double worker_fetch_seconds = 0;
  /// Seconds, summed over threads, of copying and converting, first touch of the destination included.
  double worker_copy_seconds = 0;
};

}  // namespace heft
