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

  /// `error` with the path of the chunk's source, and the tensor that its byte `at` belongs to, or the next one.
  [[nodiscard]] Error about(const Error& error, const Chunk& chunk, std::uint64_t at) const;
  /// The same, with the offset `at`, unless `error` has one.
  [[nodiscard]] Error about_request(const Error& error, const Chunk& chunk, std::uint64_t at) const;
  /// `error` of a write that begins with byte `to` of an entry: with its tensor, the path that the byte comes from, and
  /// its offset there unless it is converted or gathered.
  [[nodiscard]] Error about_write(const Error& error, EntryIndex entry, std::uint64_t to) const;

 private:
  const LoadPlan& plan_;
  const Schedule& schedule_;
};

}  // namespace heft::engine
