// format/nesting.hpp: the open containers of a document whose containers state their number of items.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/checked.hpp"
#include "heft/limits.hpp"

namespace heft::format {

/// A bounded stack with the number of items that each open container still has. Used instead of recursion, so that a
/// deep document is an Error and no overflow of the thread's stack.
class Nesting {
 public:
  /// `what` names the nesting in errors: "the nesting of CBOR". Borrowed, as `limits`.
  Nesting(const Limits& limits, std::string_view what) noexcept : limits_(limits), what_(what) {}

  /// Opens a container inside the current one; one without items is not kept. `offset` is its place. Throws
  /// Error{limit_exceeded} over Limits::metadata_depth.
  void open(std::uint64_t items, std::uint64_t offset) {
    if (items == 0) return;
    core::require_limit(left_.size() + 1, limits_.metadata_depth, what_, "metadata_depth", offset);
    left_.push_back(items);
  }

  /// Counts the next item and returns true; returns false when no container has one.
  bool next() noexcept {
    while (!left_.empty() && left_.back() == 0) left_.pop_back();
    if (left_.empty()) return false;
    --left_.back();
    return true;
  }

 private:
  const Limits& limits_;
  std::string_view what_;
  std::vector<std::uint64_t> left_;
};

}  // namespace heft::format
