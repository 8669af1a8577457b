#include "materialize/chunk_errors.hpp"

#include <algorithm>
#include <span>

namespace heft::engine {

Error ChunkErrors::about(const Error& error, const Chunk& chunk, std::uint64_t at) const {
  const std::span<const Part> parts = schedule_.parts_of(chunk);
  const auto contains = [&](const Part& part) { return part.from <= at && at < part.from_end; };
  const auto found = std::find_if(parts.begin(), parts.end(), contains);
  // An offset in a gap between parts, or outside the chunk, belongs to no tensor: the chunk's first one is named.
  const Part& part = found == parts.end() ? parts.front() : *found;
  return error.with_path(schedule_.source(chunk.source).path())
      .with_tensor(plan_.name(position(schedule_.transfer(part).entry)));
}

}  // namespace heft::engine
