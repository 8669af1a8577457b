// record/left_out.hpp: what of a checkpoint is no tensor, and so is lost where only tensors are kept.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "heft/checkpoint.hpp"

namespace heft::record {

/// "3 values that are no tensors are left out: 'epoch', 'lr', 'optimizer'", or nothing when every leaf of the record tree is a tensor.
std::optional<std::string> values_left_out(const Checkpoint& checkpoint);

/// The same sentence for `count` values of which the first names are `names`.
std::string values_sentence(std::size_t count, const std::vector<std::string>& names);
/// Names that a sentence lists.
inline constexpr std::size_t max_names_listed = 3;

}  // namespace heft::record
