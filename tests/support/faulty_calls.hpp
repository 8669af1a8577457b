// Shared by the twins of files of system calls: active faults, and the calls made since.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace heft::test {

/// Returns the result of a call, or -errno.
template <class Result>
Result or_errno(Result result) noexcept {
  return result < 0 ? static_cast<Result>(-errno) : result;
}

/// The active faults, of which the first that applies to a call is used, and every call since they were set. `Fault`
/// has the members `skip` and `times`. All members can be called from several threads.
template <class Call, class Fault>
class FaultyCalls {
 public:
  struct Made {
    Call call;
    bool is_hit;
  };

  /// Sets the faults. Throws std::logic_error when faults are already active.
  void begin(std::vector<Fault> faults) {
    const std::lock_guard lock(mutex_);
    if (active_) throw std::logic_error("a fault plan is in force already");
    active_ = true;
    seen_.assign(faults.size(), 0);
    faults_ = std::move(faults);
    made_.clear();
  }
  void end() {
    const std::lock_guard lock(mutex_);
    active_ = false;
  }

  /// Counts the call. Returns the fault that hits it, among those for which `applies(fault)` holds.
  template <class Applies>
  std::optional<Fault> next(Call call, Applies applies) {
    const std::lock_guard lock(mutex_);
    if (!active_) return std::nullopt;
    std::optional<Fault> found;
    for (std::size_t i = 0; i < faults_.size(); ++i) {
      const Fault& fault = faults_[i];
      if (!applies(fault)) continue;
      const std::uint64_t before = seen_[i]++;
      if (!found && before >= fault.skip && before - fault.skip < fault.times) found = fault;
    }
    made_.push_back({call, found.has_value()});
    return found;
  }

  /// Returns true when the condition holds for one of the active faults.
  template <class Is>
  bool has(Is is) {
    const std::lock_guard lock(mutex_);
    return active_ && std::ranges::any_of(faults_, is);
  }

  [[nodiscard]] std::vector<Made> made() const {
    const std::lock_guard lock(mutex_);
    return made_;
  }

 private:
  mutable std::mutex mutex_;
  bool active_ = false;
  std::vector<Fault> faults_;
  std::vector<std::uint64_t> seen_;  // for each fault: the calls to which it applied
  std::vector<Made> made_;
};

}  // namespace heft::test
