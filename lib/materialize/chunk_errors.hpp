// materialize/chunk_errors.hpp: errors about chunks, with the file and the tensor that they are of.
#pragma once

#include <cstdint>

#include "heft/error.hpp"
#include "heft/plan.hpp"
#include "materialize/schedule.hpp"

namespace heft::engine {

/// Adds the file and the tensor to errors about a chunk. Immutable: may be used by several threads.
class ChunkErrors {
 public:
  /// Both outlive this.
  ChunkErrors(const LoadPlan& plan, const Schedule& schedule) noexcept : plan_(plan), schedule_(schedule) {}

  /// `error` with the path of the chunk's source, and the tensor that its byte `at` belongs to, or the chunk's first
  /// one.
  [[nodiscard]] Error about(const Error& error, const Chunk& chunk, std::uint64_t at) const;

 private:
  const LoadPlan& plan_;
  const Schedule& schedule_;
};

}  // namespace heft::engine
