// materialize/io/path_selector.hpp: which path the bytes of a batch take, and why.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "heft/load_stats.hpp"
#include "materialize/io/source_handles.hpp"
#include "materialize/load_monitor.hpp"
#include "materialize/schedule.hpp"
#include "materialize/sink/chunk_sink.hpp"
#include "mmap/direct.hpp"
#include "mmap/lease.hpp"

namespace heft::engine {

/// A path, and why it is taken.
struct Selected {
  IoMethod method = IoMethod::read;
  IoReason reason = IoReason::asked;
};

/// One worker's choice of paths: the one of MaterializeOptions::io_method, or else by the pages in the page cache and
/// their layout. Each batch is examined: the residency of one does not imply that of the next, which an interrupted
/// load, or another rank's, may have left out.
///
///   asked for | source        | page cache     | entering the mapping     | path
///   --------- | ------------- | -------------- | ------------------------ | ------
///   a path    | a file        |                |                          | that one, else `read` as a fallback
///   any       | requested     |                |                          | `read`: by AsyncReader
///   automatic | made          |                |                          | `read`: inflated or gathered in place
///   automatic | memory        |                |                          | `map`: copied
///   automatic | a file        | not resident   |                          | `direct`, else `read`
///   automatic | a file        | resident       | gains nothing, or slow   | `read`
///   automatic | a file        | resident       | fast, under a lease      | `map`
///
/// Threads: one.
class PathSelector {
 public:
  /// The inputs of the selection. All must outlive the selector.
  struct Setup {
    const Schedule& schedule;
    SourceHandles& sources;
    ChunkSink& sink;
    LoadMonitor& monitor;
  };
  /// `asked` is MaterializeOptions::io_method. Counts fallbacks in `share`, which outlives this.
  PathSelector(const Setup& setup, IoMethod asked, LoadStats& share) noexcept
      : setup_(setup), asked_(asked), share_(share) {}

  /// The path of a batch. Until release() the file is under a lease where it is `map`, and open for direct reads where
  /// it is `direct`. Throws as mmap::populate() and mmap::residency() do.
  Selected choose(const Batch& batch);
  /// The path of one of its chunks: where heft chose to map, those that gain nothing by that are read.
  [[nodiscard]] Selected of_chunk(const Chunk& chunk, const Selected& of_batch) const noexcept;
  /// The batch's file, where its path is `direct`.
  [[nodiscard]] const std::shared_ptr<const mmap::DirectFile>& direct_file() const noexcept { return direct_; }
  /// Ends the use of the batch's mapping and of its file.
  void release() noexcept {
    lease_.reset();
    direct_.reset();
  }
  /// Returns buffered reads, because the requested path is not possible, and counts a fallback.
  Selected fallback(IoReason reason) noexcept;

 private:
  Selected as_asked(SourceIndex source);
  Selected resident(const Batch& batch, SourceIndex source);
  bool can_direct(SourceIndex source);
  bool can_map(SourceIndex source);
  [[nodiscard]] bool looks_resident(const record::Source& source, Range range) const;
  [[nodiscard]] bool gains_by_mapping(const Chunk& chunk) const noexcept;
  bool maps_cheaply(std::span<const std::byte> trial, const mmap::File& file);
  bool is_cheap_to_map(const record::Source& source, Range range);

  const Setup setup_;
  const IoMethod asked_;
  LoadStats& share_;
  std::shared_ptr<const mmap::Lease> lease_;
  std::shared_ptr<const mmap::DirectFile> direct_;
  bool cheap_to_map_ = false;     // as the last trial found
  unsigned trusted_batches_ = 0;  // that still go by it
  unsigned distrusted_ = 0;       // how many did, if it found entering slow
};

}  // namespace heft::engine
