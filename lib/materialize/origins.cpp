#include "materialize/origins.hpp"

#include <unordered_set>

namespace heft::engine {

Origins::Origins(const Schedule& schedule) {
  std::unordered_set<const mmap::File*> seen{nullptr};
  const record::Source* last = nullptr;
  for (const Chunk& chunk : schedule.chunks) {
    const record::Source* const source = &schedule.source(chunk.source);
    if (source == last) continue;
    last = source;
    if (const mmap::File* const file = source->origin(); seen.insert(file).second) files_.push_back(file);
  }
}

void Origins::require_unchanged() const {
  for (const mmap::File* const file : files_) file->require_unchanged();
}

}  // namespace heft::engine
