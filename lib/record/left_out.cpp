#include "record/left_out.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "core/text.hpp"
#include "record/state.hpp"

namespace heft::record {

std::string values_sentence(std::size_t count, const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names)
    list += fmt::format("{}'{}'", list.empty() ? "" : ", ", core::escaped(name, 80));
  // The caller collects only the first few names of what can be a million values.
  if (count > names.size()) list += fmt::format(" and {} more", count - names.size());
  return fmt::format("{} {} left out: {}", count,
                     count == 1 ? "value that is no tensor is" : "values that are no tensors are", list);
}

std::optional<std::string> values_left_out(const Checkpoint& checkpoint) {
  const core::Table<LeafValue>& values = StateAccess::state(checkpoint)->values;
  if (values.empty()) return std::nullopt;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min(values.size(), max_names_listed); ++i) names.emplace_back(values[i].name);
  return values_sentence(values.size(), names);
}

}  // namespace heft::record
