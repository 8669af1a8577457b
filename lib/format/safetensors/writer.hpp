// format/safetensors/writer.hpp: the plan of a safetensors file, and the index of several.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "format/writer.hpp"

namespace heft::format {

/// The pairs of safetensors' __metadata__, each key once.
using TextMetadata = std::vector<std::pair<std::string, std::string>>;

/// The writer of safetensors.
extern const Writer safetensors_writer;

/// Returns the plan of a file that holds `tensors`. Throws as FileLayout does.
FilePlan safetensors_file_plan(std::span<const TensorDeclaration> tensors, const TextMetadata& metadata);

/// Returns the index of a checkpoint in shards: `{"metadata": {"total_size": N}, "weight_map": {name: file}}`, with the
/// pairs in the given order.
std::string index_json(std::uint64_t total_size, std::span<const std::pair<std::string, std::string>> weight_map);

}  // namespace heft::format
