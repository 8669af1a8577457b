// materialize/plan_state.hpp: what a LoadPlan holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heft/plan.hpp"
#include "core/name_table.hpp"
#include "materialize/repeated_bytes.hpp"
#include "materialize/transfer.hpp"

namespace heft::engine {

/// A tensor to be.
struct PlanEntry {
  std::string name = {};
  DType dtype = DType::unknown;
  Shape shape = {};
  std::shared_ptr<const Strides> strides = {};  ///< Of the caller's buffer, when they are not the packed ones; else null.
  std::uint64_t size_bytes = 0;      ///< Packed.
  std::span<std::byte> into = {};    ///< The caller's buffer; no data: the load allocates.
  bool has_buffer = false;
};

/// Not in one run: a plan grows by many, and what a run outgrows is memory that is touched twice.
using PlanEntries = std::deque<PlanEntry>;

/// The key to a LoadPlan's state.
struct PlanAccess {
  static const PlanEntries& entries(const LoadPlan& plan) noexcept;
  /// Transfers only: not cut yet.
  static const Layout& transfers(const LoadPlan& plan) noexcept;
  static const core::NameTable& names(const LoadPlan& plan) noexcept;
  static LoadPlan select(const LoadPlan& plan, std::span<const std::uint32_t> entries);
};

}  // namespace heft::engine

namespace heft {

struct [[gnu::visibility("hidden")]] LoadPlan::State {
  engine::PlanEntries entries;
  engine::Layout layout;
  core::NameTable names;
  std::uint64_t bytes_written = 0;  // of all entries
  engine::RepeatedBytes repeated{Limits{}.repeated_bytes};  ///< Of entries that the load allocates.
};

}  // namespace heft
