// materialize/plan_state.hpp: what a LoadPlan holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "heft/plan.hpp"
#include "core/name_table.hpp"
#include "materialize/transfer.hpp"

namespace heft::engine {

/// A tensor to be.
struct PlanEntry {
  std::string name = {};
  DType dtype = DType::unknown;
  Shape shape = {};
  std::optional<Strides> strides = {};  ///< Of the caller's buffer, when they are not the packed ones.
  std::uint64_t size_bytes = 0;      ///< Packed.
  std::span<std::byte> into = {};    ///< The caller's buffer; no data: the load allocates.
  bool has_buffer = false;
};

/// The key to a LoadPlan's state.
struct PlanAccess {
  static const std::vector<PlanEntry>& entries(const LoadPlan& plan) noexcept;
  /// Transfers only: not cut yet.
  static const Layout& transfers(const LoadPlan& plan) noexcept;
  static const core::NameTable& names(const LoadPlan& plan) noexcept;
  static LoadPlan select(const LoadPlan& plan, std::span<const std::uint32_t> entries);
};

}  // namespace heft::engine

namespace heft {

struct LoadPlan::State {
  std::vector<engine::PlanEntry> entries;
  engine::Layout layout;
  core::NameTable names;
};

}  // namespace heft
