// format/safetensors/index_writer.cpp: writes the index of a checkpoint in shards, formatted as by transformers and
// huggingface_hub; index_reader.cpp reads it.
#include <fmt/format.h>

#include "format/json/writer.hpp"
#include "format/safetensors/writer.hpp"

namespace heft::format {

std::string index_json(std::uint64_t total_size, std::span<const std::pair<std::string, std::string>> weight_map) {
  std::string text =
      fmt::format("{{\n  \"metadata\": {{\n    \"total_size\": {}\n  }},\n  \"weight_map\": {{", total_size);
  bool first = true;
  for (const auto& [tensor, file] : weight_map) {
    text += first ? "\n    " : ",\n    ";
    first = false;
    append_json_string(text, tensor);
    text += ": ";
    append_json_string(text, file);
  }
  // Python's json.dumps() writes an empty object on one line.
  text += first ? "}\n}\n" : "\n  }\n}\n";
  return text;
}

}  // namespace heft::format
