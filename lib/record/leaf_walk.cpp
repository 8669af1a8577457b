#include "record/leaf_walk.hpp"

#include <utility>

#include "heft/error.hpp"
#include "heft/limits.hpp"
#include "record/record_access.hpp"
#include "record/state.hpp"

namespace heft::record {
namespace {

// Returns the limits with which the checkpoint was opened; the defaults for a record of none.
Limits limits_of(const Record& root) noexcept {
  const State* state = RecordAccess::state(root);
  return state == nullptr ? Limits{} : state->limits;
}

}  // namespace

std::string join_path(const std::string& path, std::string_view key) {
  // No dot at the root, and none for the leaf beside the children of its own name.
  if (key.empty() || path.empty()) return path + std::string(key);
  return path + '.' + std::string(key);
}

bool is_container(const Record& record) noexcept {
  const RecordKind kind = record.kind();
  return kind == RecordKind::list || kind == RecordKind::map || kind == RecordKind::opaque;
}

LeafWalk::LeafWalk(const Record& root, std::string path, std::function<bool(const std::string&)> prune)
    : left_{{{std::move(path), root}, 0}},
      prune_(std::move(prune)),
      visits_left_(limits_of(root).record_visits),
      max_depth_(limits_of(root).record_depth) {}

bool LeafWalk::next(Leaf& into) {
  while (!left_.empty()) {
    Step step = std::move(left_.back());
    left_.pop_back();
    into = std::move(step.leaf);
    if (prune_ && prune_(into.path)) continue;
    const std::size_t count = is_container(into.record) ? into.record.size() : 0;
    if (count == 0) return true;
    // Counted when children are pushed, not when they are visited, so that one container of millions cannot fill left_.
    if (step.depth == max_depth_ || visits_left_ < count) {
      was_cut_ = true;
      continue;
    }
    visits_left_ -= count;
    // Backwards, so that the first child lies on top.
    for (std::size_t position = count; position-- > 0;)
      left_.push_back({{join_path(into.path, into.record.key(position)), into.record.child(position)}, step.depth + 1});
  }
  return false;
}

void LeafWalk::require_whole() const {
  if (was_cut_)
    throw Error(
        ErrorCode::limit_exceeded,
        "more records than Limits::record_visits, or nested deeper than Limits::record_depth; or one holds itself");
}

}  // namespace heft::record
