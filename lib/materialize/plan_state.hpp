// materialize/plan_state.hpp: the state of a LoadPlan.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "core/name_table.hpp"
#include "heft/plan.hpp"
#include "materialize/budget.hpp"
#include "materialize/plan_entry.hpp"
#include "materialize/repeated_bytes.hpp"
#include "materialize/schedule.hpp"

namespace heft::engine {

/// The compiled schedule of a plan, and the last budget that was computed from it, kept for the next load and the next
/// estimate. Copies of a plan share them. All members but reset() may be called from several threads.
class CompiledPlan {
 public:
  CompiledPlan() = default;
  CompiledPlan(const CompiledPlan& other) {
    const std::lock_guard lock(other.mutex_);
    schedule_ = other.schedule_;
    budget_ = other.budget_;
  }
  CompiledPlan& operator=(const CompiledPlan&) = delete;

  /// Returns the schedule; the first call takes it from `make()`.
  template <class Make>
  std::shared_ptr<const Schedule> schedule(const Make& make) {
    const std::lock_guard lock(mutex_);
    // Under the lock: a second load of the plan waits for the schedule rather than compile it too.
    if (!schedule_) schedule_ = make();
    return schedule_;
  }
  /// Returns the kept budget if it is the one of that key.
  [[nodiscard]] std::optional<Budget> budget(const BudgetKey& key) const {
    const std::lock_guard lock(mutex_);
    return budget_ && budget_->first == key ? std::optional(budget_->second) : std::nullopt;
  }
  void keep(BudgetKey key, const Budget& budget) {
    const std::lock_guard lock(mutex_);
    budget_.emplace(std::move(key), budget);
  }
  /// Discards the results, because the plan has changed.
  void reset() noexcept {
    schedule_.reset();
    budget_.reset();
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Schedule> schedule_;
  std::optional<std::pair<BudgetKey, Budget>> budget_;
};

/// The key to a LoadPlan's state.
struct PlanAccess {
  static const PlanEntries& entries(const LoadPlan& plan) noexcept;
  static const Transfers& transfers(const LoadPlan& plan) noexcept;
  static std::shared_ptr<const Transfers> shared_transfers(const LoadPlan& plan) noexcept;
  static const core::NameTable& names(const LoadPlan& plan) noexcept;
  /// Destination bytes of all entries.
  static std::uint64_t bytes_written(const LoadPlan& plan) noexcept;
  /// Compiled on the first call, and again after the plan has changed.
  static std::shared_ptr<const Schedule> schedule(const LoadPlan& plan);
  /// Returns the results kept so far, without compiling.
  static CompiledPlan& compiled(const LoadPlan& plan) noexcept;
};

}  // namespace heft::engine

namespace heft {

struct [[gnu::visibility("hidden")]] LoadPlan::State {
  State() = default;
  /// A deep copy, which shares the compiled schedule.
  State(const State& other)
      : entries(other.entries),
        transfers(std::make_shared<engine::Transfers>(*other.transfers)),
        names(other.names),
        bytes_written(other.bytes_written),
        repeated(other.repeated),
        compiled(other.compiled) {}
  State& operator=(const State&) = delete;

  /// Returns the transfers for changing. A schedule that is still in use keeps the transfers it was compiled from.
  engine::Transfers& changed_transfers() {
    compiled.reset();
    // A schedule refers to transfers by position, and another thread may be executing it.
    if (transfers.use_count() > 1) transfers = std::make_shared<engine::Transfers>(*transfers);
    return *transfers;
  }

  engine::PlanEntries entries;
  std::shared_ptr<engine::Transfers> transfers = std::make_shared<engine::Transfers>();
  core::NameTable names;
  std::uint64_t bytes_written = 0;                          // of all entries
  engine::RepeatedBytes repeated{Limits{}.repeated_bytes};  ///< Of entries that the load allocates.
  engine::CompiledPlan compiled;
};

}  // namespace heft
