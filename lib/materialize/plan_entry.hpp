// materialize/plan_entry.hpp: the tensors that a plan was asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "heft/dtype.hpp"
#include "heft/shape.hpp"
#include "heft/tensor.hpp"

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

/// Returns the tensor that an entry has become, with its elements in `bytes` or, on a device, at `place`.
[[nodiscard]] inline Tensor tensor_of(const PlanEntry& entry, Bytes bytes, const Placement& place = {},
                                      bool is_on_device = false) {
  Strides strides = entry.strides ? *entry.strides : Strides::contiguous(entry.shape);
  return Tensor(entry.name, entry.dtype, entry.shape, std::move(strides), std::move(bytes), place, is_on_device);
}

}  // namespace heft::engine
