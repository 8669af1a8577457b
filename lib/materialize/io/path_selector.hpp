// materialize/io/path_selector.hpp: which path the bytes of a batch take, and why.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "heft/load_stats.hpp"
#include "materialize/pipeline.hpp"
#include "materialize/schedule.hpp"
#include "mmap/direct.hpp"
#include "mmap/lease.hpp"

namespace heft::engine {

/// A path, and why it is taken.
struct Route {
  Path path = Path::read;
  PathReason reason = PathReason::asked;
};

/// One worker's choice of paths: as MaterializeOptions::path says, else by what is in the page cache and how it lies
/// there. Asked about each batch: what is found out about one says nothing about the next, which a load that was broken
/// off, or another rank's, may have left out.
///
/// Threads: one.
class Router {
 public:
  /// Counts fallbacks in `share`, which outlives it, as `load` does.
  Router(Load& load, LoadStats& share) noexcept : load_(load), share_(share) {}

  /// The path of a batch. Until leave() the file is under a lease where it is `map`, and open for direct reads where it is
  /// `direct`. Throws as mmap::populate() and mmap::residency() do.
  Route choose(const Batch& batch);
  /// The path of one of its chunks: where heft chose to map, those that gain nothing by that are read.
  [[nodiscard]] Route of_chunk(const Chunk& chunk, const Route& of_batch) const noexcept;
  /// The batch's file, where its path is `direct`.
  [[nodiscard]] const std::shared_ptr<const mmap::DirectFile>& direct_file() const noexcept { return direct_; }
  /// The batch's mapping will not be touched any more, and nothing of it asked for.
  void leave() noexcept {
    lease_.reset();
    direct_.reset();
  }
  /// Buffered reads, for want of a better path.
  Route fallback(PathReason reason) noexcept;

 private:
  Route as_asked(SourceIndex source);
  Route resident(const Batch& batch, SourceIndex source);
  bool can_direct(SourceIndex source);
  bool can_map(SourceIndex source);
  [[nodiscard]] bool looks_resident(const record::Source& source, Range range) const;
  [[nodiscard]] bool gains_by_mapping(const Chunk& chunk) const noexcept;
  bool enters_cheaply(std::span<const std::byte> trial, const mmap::File& file);
  bool is_cheap_to_enter(const record::Source& source, Range range);

  Load& load_;
  LoadStats& share_;
  std::shared_ptr<const mmap::Lease> lease_;
  std::shared_ptr<const mmap::DirectFile> direct_;
  bool cheap_to_enter_ = false;   // as the last trial found
  unsigned trusted_batches_ = 0;  // that still go by it
  unsigned trust_in_dear_ = 0;    // how many did, if it found entering dear
};

}  // namespace heft::engine
