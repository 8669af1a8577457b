// materialize/origins.hpp: the files that a load reads.
#pragma once

#include <span>
#include <vector>

#include "materialize/schedule.hpp"

namespace heft::engine {

/// The opened sources that the bytes of a schedule come from, each once, whatever way the bytes take: mapped, read,
/// requested, inflated, or in memory since the file was opened. Immutable once made; const members may be called from
/// several threads.
class Origins {
 public:
  /// The sources of `chunks` of `schedule`, which outlives this.
  Origins(const Schedule& schedule, std::span<const Chunk> chunks);

  /// Called before the first byte and after the last. Throws Error{changed_on_disk} where one of the files is not as it
  /// was when it was opened, Error{io} where it cannot be examined, and what a source of the caller's throws.
  void require_unchanged() const;

 private:
  std::vector<const record::Source*> roots_;
};

}  // namespace heft::engine
