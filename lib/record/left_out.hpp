// record/left_out.hpp: describes the values of a checkpoint that a format of tensors only cannot keep.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "heft/checkpoint.hpp"

namespace heft::record {

/// Returns "3 values that are no tensors are left out: 'epoch', 'lr', 'optimizer'", or nothing if every leaf of the
/// record tree is a tensor.
std::optional<std::string> values_left_out(const Checkpoint& checkpoint);

/// Returns the same message for `count` values, the first of which have the names `names`.
std::string values_sentence(std::size_t count, const std::vector<std::string>& names);
/// The maximum number of names in the message.
inline constexpr std::size_t max_names_listed = 3;

}  // namespace heft::record
