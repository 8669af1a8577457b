// materialize/io/source_handles.hpp: what a load opens of its sources: direct access, leases, requests.
#pragma once

#include <memory>

#include "materialize/io/per_source.hpp"
#include "materialize/io/request_gate.hpp"
#include "materialize/load_monitor.hpp"
#include "materialize/origins.hpp"
#include "materialize/schedule.hpp"
#include "mmap/direct.hpp"
#include "mmap/lease.hpp"

namespace heft::engine {

/// The sources of one load as its workers use them: files, each opened on first use, and the gate of requests.
///
/// Threads: all members may be called from any worker.
class SourceHandles {
 public:
  /// Notes in `monitor` what the system refuses. Both outlive this.
  SourceHandles(const Schedule& schedule, LoadMonitor& monitor)
      : schedule_(schedule),
        monitor_(monitor),
        origins_(schedule, schedule.chunks),
        requests_(std::make_shared<RequestGate>(schedule)) {}

  /// Direct access to a source's file, opened on first use; null where the system or the file system refuses it.
  [[nodiscard]] std::shared_ptr<const mmap::DirectFile> direct_file(SourceIndex index);
  /// A lease on a source's file, taken on first use, and found to hold just now: while the caller keeps it, and for
  /// no longer than it takes to copy a batch, the mapping may be touched. Null where the system refuses it, and once
  /// another process wants to write to the file.
  [[nodiscard]] std::shared_ptr<const mmap::Lease> lease(SourceIndex index);
  /// The gate of requests to sources of Kind::requested.
  [[nodiscard]] RequestGate& requests() noexcept { return *requests_; }
  /// Throws Error{changed_on_disk} where a source is not as it was when it was opened.
  void require_unchanged() const { origins_.require_unchanged(); }

 private:
  const Schedule& schedule_;
  LoadMonitor& monitor_;
  const Origins origins_;
  const std::shared_ptr<RequestGate> requests_;
  PerSource<mmap::DirectFile> direct_;
  PerSource<mmap::Lease> leases_;
};

}  // namespace heft::engine
