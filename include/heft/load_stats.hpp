// heft/load_stats.hpp: what an operator wants to know about a load, returned as a value. heft prints nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "heft/export.hpp"

namespace heft {

/// A way for bytes to get from a file into memory.
enum class IoMethod : std::uint8_t {
  /// Chosen per byte range by what is in the page cache, and by how it lies there. Never the value of an IoUse.
  automatic,
  /// Copied out of the mapping, a window at a time: populated before, given up after, and only while a lease keeps the
  /// file from shrinking. Best for what is resident on huge pages and is converted in order, or copied into memory that
  /// is there.
  map,
  /// O_DIRECT, past the page cache, many requests in flight. Best for what is not resident.
  direct,
  /// Positional buffered reads, straight to where the bytes belong or into a buffer that stays in the cache. Best for
  /// whatever else is resident: copied into fresh memory, in small pages, gathered or transposed, or going to device
  /// memory. And where mappings, leases or O_DIRECT are not to be had.
  read,
};

/// "automatic", "map", "direct", "read".
HEFT_API std::string_view name(IoMethod method) noexcept;

/// Why a range took its path.
enum class IoReason : std::uint8_t {
  /// MaterializeOptions::io_method said so.
  asked,
  /// The page cache holds it: read, or mapped where that is faster.
  resident,
  /// The device has to be asked.
  not_resident,
  /// It is no file: the caller's memory, or a record that was inflated whole. Counted as `map`.
  in_memory,
  /// There is no mapping: the checkpoint was opened with Access::read, or the system maps the file not (Checkpoint::notes()).
  access_read,
  /// The file's size cannot be held while its mapping is copied (mmap: a lease), so touching it may raise SIGBUS.
  no_lease,
  /// The kernel has no MADV_POPULATE_READ, or refuses it, without which touching a mapping may raise SIGBUS.
  no_populate,
  /// The file system or the sandbox refuses O_DIRECT.
  no_direct,
  /// The bytes go to device memory, which may keep a copy out of a mapping waiting for longer than a file's size can be held.
  device_destination,
  /// Made while it is read: inflated, or gathered from numbers that the file spells one by one. Counted as `read`, in
  /// bytes as they are made.
  made,
};

/// The reason's name as it is spelt in the source.
HEFT_API std::string_view name(IoReason reason) noexcept;

/// Bytes that took one path for one reason.
struct IoUse {
  IoMethod method = IoMethod::map;
  IoReason reason = IoReason::asked;
  std::uint64_t bytes = 0;
};

/// What a load did. A value. Seconds are wall time unless they say `worker`.
struct LoadStats {
  /// Source bytes fetched: equals LoadEstimate::bytes_read.
  std::uint64_t bytes_read = 0;
  /// Destination bytes filled: equals LoadEstimate::bytes_written.
  std::uint64_t bytes_written = 0;
  /// Sums to bytes_read. Each (path, reason) once.
  std::vector<IoUse> io_uses;
  /// Ranges that could not take the path chosen for them and took `read` instead.
  std::uint64_t fallbacks = 0;
  /// What the system refused and the load did without, each once, for people: "io_uring_setup: Operation not permitted".
  std::vector<std::string> notes;
  /// Bytes fetched beyond bytes_read: O_DIRECT's alignment, gaps that a device reads faster than it skips.
  std::uint64_t over_read = 0;
  /// Bytes given up from the page cache because the load had brought them in.
  std::uint64_t dropped_bytes = 0;

  /// Units of work the plan came to.
  std::uint64_t ranges = 0;
  /// Threads that worked, the calling one included.
  unsigned threads = 0;
  /// Most staging memory in use at once.
  std::uint64_t peak_staging_bytes = 0;
  /// Destination memory that heft allocated.
  std::uint64_t arena_bytes = 0;

  /// The whole call.
  double seconds = 0;
  /// Making ranges of the plan, probing residency, allocating.
  double plan_seconds = 0;
  /// Moving bytes.
  double load_seconds = 0;
  /// Summed over workers: populating, reading, waiting for the device.
  double worker_fetch_seconds = 0;
  /// Summed over workers: copying, converting, first touch of the destination.
  double worker_copy_seconds = 0;
};

}  // namespace heft
