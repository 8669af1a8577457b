// materialize/io/per_source.hpp: one object for each source of a load, opened when it is first needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "materialize/transfer.hpp"

namespace heft::engine {

/// A descriptor of some kind (a lease, a direct file) for each source: open while it is in use, and the last few
/// besides, for a model may have more shards than a process may open. Members may be called from several threads.
template <class T>
class PerSource {
 public:
  /// Returns the object that is open for `source`, or else the result of `open()`, which is not called again once it
  /// has returned null.
  template <class Open>
  std::shared_ptr<const T> get(SourceIndex source, const Open& open) {
    const std::lock_guard lock(mutex_);
    Slot& slot = slots_[source];
    // Asked once: a file system that refuses would refuse each batch anew, at the cost of a system call and a note.
    if (slot.refused) return nullptr;
    if (auto there = slot.there.lock()) return there;
    // Under the lock: workers that need the same descriptor wait for it rather than open it twice.
    std::shared_ptr<const T> opened = open();
    slot.there = opened;
    slot.refused = opened == nullptr;
    if (!slot.refused) keep(opened);
    return opened;
  }

  /// Null from now on.
  void refuse(SourceIndex source) {
    const std::lock_guard lock(mutex_);
    Slot& slot = slots_[source];
    slot.refused = true;
    // Users keep theirs until they release it; the pool no longer does.
    std::erase(kept_, slot.there.lock());
  }

 private:
  static constexpr std::size_t max_kept = 4;

  struct Slot {
    std::weak_ptr<const T> there;
    bool refused = false;
  };

  void keep(std::shared_ptr<const T> opened) {
    kept_.push_back(std::move(opened));
    // A descriptor that is still in use stays open through its users.
    if (kept_.size() > max_kept) kept_.pop_front();
  }

  std::mutex mutex_;
  std::unordered_map<SourceIndex, Slot> slots_;
  std::deque<std::shared_ptr<const T>> kept_;  // oldest first
};

}  // namespace heft::engine
