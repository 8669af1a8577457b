// materialize/stream_groups.hpp: the order of a stream, and the tensors that get their memory together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "heft/plan.hpp"
#include "heft/stream.hpp"

namespace heft::engine {

/// Consecutive tensors of a stream that share one run of memory.
struct StreamGroup {
  std::uint32_t first = 0;        ///< Position in StreamGroups::order of the first tensor.
  std::uint32_t last = 0;         ///< Position past the last one.
  std::uint64_t size_bytes = 0;   ///< Of all its tensors; 0: nothing is read for it.
  std::uint64_t arena_bytes = 0;  ///< Of the memory for those without a buffer of the caller.
};

/// The entries of a plan in the order of a stream, in groups: a tensor that is larger than `max_bytes` is alone in its
/// group, and smaller neighbours share one, so that many small tensors cost one piece of memory and one comparison of
/// their files. Immutable once made.
struct StreamGroups {
  std::vector<std::uint32_t> order;     ///< Positions in the plan.
  std::vector<std::uint32_t> group_of;  ///< Of each entry of the plan.
  std::vector<std::uint64_t> offsets;   ///< Of each entry, in its group's memory.
  std::vector<StreamGroup> groups;

  /// Throws Error{out_of_range} unless `alignment` is a power of two.
  static StreamGroups of(const LoadPlan& plan, StreamOrder order, std::uint64_t max_bytes, std::uint64_t alignment);
  /// In an order of the caller's, which has each entry once: `ends` has the position past each group's last entry.
  static StreamGroups of(const LoadPlan& plan, std::vector<std::uint32_t> order, std::span<const std::uint32_t> ends,
                         std::uint64_t alignment);

  /// Bytes of each group's tensors.
  [[nodiscard]] std::vector<std::uint64_t> sizes() const;
  /// The entries of a group, in order.
  [[nodiscard]] std::span<const std::uint32_t> entries_of(const StreamGroup& group) const noexcept {
    return std::span(order).subspan(group.first, group.last - group.first);
  }

 private:
  StreamGroups(const LoadPlan& plan, std::vector<std::uint32_t> order);
  void begin_group();
  void add(const LoadPlan& plan, std::uint32_t position, std::uint64_t alignment);
};

}  // namespace heft::engine
