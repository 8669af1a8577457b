// record/part_count.hpp: names of more parts than a record tree is deep.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace heft::record {

/// True when `name`, split at its dots, has more than `limit` parts. Such a name is one leaf of the tree, under its
/// whole name.
[[nodiscard]] inline bool has_too_many_parts(std::string_view name, std::uint64_t limit) noexcept {
  return name.size() >= limit && static_cast<std::uint64_t>(std::ranges::count(name, '.')) >= limit;
}

}  // namespace heft::record
