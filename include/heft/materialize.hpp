// heft/materialize.hpp: from views to memory: executes a plan.
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

namespace heft {

/// How far a load has come.
struct Progress {
  std::uint64_t bytes_done = 0;   ///< Destination bytes filled; never goes back.
  std::uint64_t bytes_total = 0;  ///< LoadEstimate::bytes_written.
};

/// What materialize() and stream() can be asked. The defaults suit a laptop and a server.
struct MaterializeOptions {
  /// Threads that work, the calling one included. 0: as many as there are processors that this process may run on, at
  /// most 16 (memory bandwidth is spent by then), less those that other loads of this process keep busy meanwhile, at
  /// least one. A load too small to gain by it uses fewer; LoadStats says how many. Where there are several NUMA
  /// nodes (and heft was built with libnuma), threads keep to one each while they work.
  unsigned threads = 0;
  /// Called now and then, from any worker but never from two at once, and a last time with bytes_done == bytes_total.
  /// Keep it short: a worker waits. What it throws ends the load and comes out of materialize().
  std::function<void(const Progress&)> progress = {};
  /// A stop request ends the load soon, with Error{cancelled}.
  std::stop_token stop = {};
  /// Forces one path for every range that can take it. LoadStats::io_uses says which did not and why.
  IoMethod io_method = IoMethod::automatic;
  /// Bound on staging memory: buffers of direct reads, for all threads together; twice as much on the way to device memory
  /// (Destination). A thread has 2 MiB at least, and more if its largest piece needs it: LoadPlan::estimate() counts
  /// what it comes to. It also bounds what a device is asked for at once when bytes cannot go straight to where they
  /// belong: devices far away may want more, and what fits the last-level cache is copied faster.
  std::uint64_t staging_bytes = 16u << 20;
  /// Each tensor that heft places begins on a multiple of this, a power of two. Error{out_of_range} otherwise.
  std::uint64_t alignment = 64;
  /// Gives up from the page cache what the load brought into it, never what was there before: for checkpoints that are
  /// read once. Nothing is given up where the kernel keeps from this process what was there (it tells who owns the file,
  /// or may write to it), nor pages that are mapped or dirty. LoadStats::dropped_bytes says how much it was.
  bool drop_page_cache = false;
  /// Compares, before the first byte, what the load takes of this process's memory with what the system and the cgroups of
  /// this process have left: MemAvailable, and each limit less what is in use and is not file cache. Error{out_of_memory}
  /// names both. Staging shrinks to fit before a load is refused. False: neither; the kernel may end the process then.
  /// Loads below 32 MiB, and memory of the caller's own destination, are not compared.
  bool check_memory = true;
  /// Where tensors live that were added without a buffer. Null: a host arena of huge pages. Must not be shared by two
  /// loads.
  std::shared_ptr<Destination> destination = {};
};

/// Executes the plan. Either every tensor is there, or an Error is thrown and nothing is left behind (the caller's
/// buffers, if any, hold unspecified bytes).
///
/// Throws Error{cancelled, changed_on_disk, io, out_of_memory, out_of_range}, with path, tensor and offset where they
/// are known. A file that another process truncates or writes to meanwhile, or has written to since it was opened, is
/// Error{changed_on_disk}, never a signal and never a mixture: see Checkpoint. All threads have ended when it returns or
/// throws. May be called from several threads at once, with one plan too.
[[nodiscard]] HEFT_API Weights materialize(const LoadPlan& plan, const MaterializeOptions& options = {});

/// One view, as it is or converted: see LoadPlan for what converts. Throws as the plan and as above.
[[nodiscard]] HEFT_API Tensor materialize(const TensorView& view, const MaterializeOptions& options = {});
[[nodiscard]] HEFT_API Tensor materialize(const TensorView& view, DType dtype, const MaterializeOptions& options = {});

}  // namespace heft
