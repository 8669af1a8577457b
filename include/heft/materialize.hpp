// heft/materialize.hpp: executes a plan: copies views into memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>

#include "heft/destination.hpp"
#include "heft/export.hpp"
#include "heft/load_stats.hpp"
#include "heft/plan.hpp"
#include "heft/tensor.hpp"
#include "heft/weights.hpp"
#include "heft/workers.hpp"

namespace heft {

/// The progress of a load or a save. A value, passed to MaterializeOptions::progress.
struct Progress {
  std::uint64_t bytes_done = 0;   ///< Destination bytes filled so far; never decreases.
  std::uint64_t bytes_total = 0;  ///< LoadEstimate::bytes_written.
};

/// Options of materialize() and stream(). The defaults suit a laptop and a server. A value.
///
/// Example:
///   std::stop_source stop;
///   heft::MaterializeOptions options{.threads = 8, .stop = stop.get_token()};
///   options.progress = [](const heft::Progress& p) { std::cerr << p.bytes_done << " of " << p.bytes_total << '\r'; };
///   weights = heft::materialize(plan, options);
struct MaterializeOptions {
  /// Number of threads that work, the calling one included. 0: the number of processors that this process may run on,
  /// at most 16 (more do not increase memory bandwidth), less the threads of other running loads of this process, at
  /// least 1. A small load uses fewer, and one that reads and writes less than 1 MiB in all runs on the calling thread;
  /// LoadStats::threads is the number used. On a machine with several NUMA nodes, and with heft built with libnuma,
  /// each thread stays on one node while it works.
  unsigned threads = 0;
  /// Called repeatedly during the load, from any worker but never from two at once, and a last time with bytes_done ==
  /// bytes_total. It must be short, because the worker waits for it. What it throws ends the load and comes out of
  /// materialize().
  std::function<void(const Progress&)> progress = {};
  /// A stop request ends the load at its next unit of work, with Error{cancelled}.
  std::stop_token stop = {};
  /// Forces one method for every range that can use it. LoadStats::io_uses lists the bytes of others, with the reason.
  IoMethod io_method = IoMethod::automatic;
  /// Bound on staging memory: buffers of requests to sources of the caller's, for all threads together; twice as much
  /// on the way to device memory (Destination). Direct reads into host memory use a quarter of it, and of the default
  /// not more than a quarter of the last-level cache, as far as the system reports its size: bytes are copied faster
  /// out of buffers that stay in the cache. A thread has 2 MiB at least, and more if its largest piece needs it:
  /// LoadPlan::estimate() counts the sum. It also bounds the bytes of reads in flight when they cannot be read in
  /// place: a distant device can need more.
  std::uint64_t staging_bytes = 16u << 20;
  /// Alignment in bytes of each tensor in memory that heft allocates. Error{out_of_range} unless it is a power of two.
  std::uint64_t alignment = 64;
  /// Evicts the pages that the load added to the page cache, and no others: for checkpoints that are read once. It
  /// evicts nothing where the kernel does not report residency to this process (it reports it to the owner of the file
  /// and to processes that may write to it), and no pages that are mapped or dirty. LoadStats::dropped_bytes is the
  /// amount.
  bool drop_page_cache = false;
  /// Compares, before the first byte is read, the memory that the load needs with the memory that the system and the
  /// cgroups of this process have left: MemAvailable, and each limit minus usage that is not file cache. Staging is
  /// reduced to fit first; if that is not enough, the load is Error{out_of_memory}, which names both figures. False: no
  /// comparison, and the kernel can kill the process. Loads below 32 MiB, and memory of a destination of the caller,
  /// are not compared.
  bool check_memory = true;
  /// Threads to borrow. Null: the load starts threads of its own, and ends them before it returns.
  std::shared_ptr<Workers> workers = {};
  /// The memory for tensors that were added without a buffer. Null: a host arena of huge pages.
  std::shared_ptr<const Destination> destination = {};
};

/// Executes the plan and returns all its tensors. When it throws, all memory that it allocated has been freed; buffers
/// of the caller then contain unspecified bytes.
///
/// Throws, with path, tensor and offset where they are known:
///   cancelled        MaterializeOptions::stop was requested
///   changed_on_disk  a file was written to or truncated since it was opened; never a signal and never a mixture, see
///                    Checkpoint
///   io               a system call failed: os_error()
///   out_of_memory    the destination or staging could not be allocated, or does not fit the memory left
///   out_of_range     an option is invalid
/// and what `progress` and the destination throw.
///
/// No thread works for the load any more when it returns or throws. May be called from several threads at once, also
/// with the same plan.
///
/// Example:
///   plan.add(view.shard(0, 3, 8), heft::DType::f32);
///   const heft::Weights loaded = heft::materialize(plan, {.threads = 8});
///   const std::span<const float> values = loaded[view.name()].span<float>();
[[nodiscard]] HEFT_API Weights materialize(const LoadPlan& plan, const MaterializeOptions& options = {});

/// Loads one view, unconverted (or as its wanted_dtype()), or converted to `dtype`: LoadPlan lists the conversions.
/// Throws as LoadPlan::add() and as above.
[[nodiscard]] HEFT_API Tensor materialize(const TensorView& view, const MaterializeOptions& options = {});
[[nodiscard]] HEFT_API Tensor materialize(const TensorView& view, DType dtype, const MaterializeOptions& options = {});

}  // namespace heft
