// record/part_count.hpp: detects names with more parts than the depth of a record tree.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace heft::record {

/// Returns true if `name`, split at its dots, has more than `limit` parts. Such a name is one leaf of the tree, with
/// the whole name as its key.
[[nodiscard]] inline bool has_too_many_parts(std::string_view name, std::uint64_t limit) noexcept {
  return name.size() >= limit && static_cast<std::uint64_t>(std::ranges::count(name, '.')) >= limit;
}

}  // namespace heft::record
