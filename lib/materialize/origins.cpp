#include "materialize/origins.hpp"

#include <unordered_set>

#include "heft/error.hpp"

namespace heft::engine {

Origins::Origins(const Schedule& schedule, std::span<const Chunk> chunks) {
  // Sources without a root, such as the caller's memory, have no file to compare: null counts as seen.
  std::unordered_set<const record::Source*> seen{nullptr};
  const record::Source* last = nullptr;
  for (const Chunk& chunk : chunks) {
    const record::Source* const source = &schedule.source(chunk.source);
    // Chunks are sorted by source, so that this spares nearly all look-ups.
    if (source == last) continue;
    last = source;
    if (const record::Source* const root = source->root(); seen.insert(root).second) roots_.push_back(root);
  }
}

void Origins::require_unchanged() const {
  for (const record::Source* const root : roots_) {
    try {
      root->check_unchanged();
    } catch (const Error& error) {
      throw error.with_path(root->path());
    }
  }
}

}  // namespace heft::engine
