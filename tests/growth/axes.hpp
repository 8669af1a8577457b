// Files that have many of one thing.
#pragma once

#include <vector>

#include "measure.hpp"
#include "support/temp_folder.hpp"

namespace heft::test {

/// Of many tensors, and of tensors with long names or names of many parts: for every command and call.
[[nodiscard]] std::vector<Axis> tensor_axes(const TempFolder& folder);
/// Of many values, keys, list elements, memo entries, metadata: few tensors, or none.
[[nodiscard]] std::vector<Axis> value_axes(const TempFolder& folder);

}  // namespace heft::test
