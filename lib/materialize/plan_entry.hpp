// materialize/plan_entry.hpp: the tensors that a plan was asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>

#include "heft/dtype.hpp"
#include "heft/shape.hpp"

namespace heft::engine {

/// A tensor to be.
struct PlanEntry {
  std::string name = {};
  DType dtype = DType::unknown;
  Shape shape = {};
  /// Of the caller's buffer, when they are not the packed ones; else null.
  std::shared_ptr<const Strides> strides = {};
  std::uint64_t size_bytes = 0;    ///< Packed.
  std::span<std::byte> into = {};  ///< The caller's buffer; no data: the load allocates.
  bool has_buffer = false;
};

/// Not in one run: a plan grows by many, and what a run outgrows is memory that is touched twice.
using PlanEntries = std::deque<PlanEntry>;

}  // namespace heft::engine
