// Small models in a folder, for tests of what open() makes of it.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "heft/checkpoint.hpp"
#include "record/support.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace heft::test {

/// A safetensors file of one-byte tensors whose bytes are `value`.
inline std::string model_of(const std::vector<std::string>& names, char value = 'x') {
  SafetensorsBuilder builder;
  for (const std::string& name : names) builder.add(name, "U8", {1}, std::string(1, value));
  return builder.build();
}

/// An index of tensors and the files that they lie in.
inline std::string index_of(const std::vector<std::pair<std::string, std::string>>& map,
                            const std::string& metadata = "{}") {
  std::string json = "{\"metadata\": " + metadata + ", \"weight_map\": {";
  for (const auto& [name, file] : map) json += (json.back() == '{' ? "\"" : ", \"") + name + "\": \"" + file + "\"";
  return json + "}}";
}

inline Error error_of(const std::filesystem::path& path, const OpenOptions& options = {}) {
  return thrown_by([&] { return open(path, options); });
}

/// Of a temporary, which lends none.
inline std::size_t count_of_notes(const Checkpoint& checkpoint) { return checkpoint.notes().size(); }

/// One of the notes holds all these words.
inline bool has_note(const Checkpoint& checkpoint, const std::vector<std::string_view>& words) {
  for (const std::string& note : checkpoint.notes()) {
    bool all = true;
    for (const std::string_view word : words) all = all && note.find(word) != std::string::npos;
    if (all) return true;
  }
  return false;
}

/// Fails the test, showing the message, unless it holds all these words.
inline void check_words(const std::string& text, const std::vector<std::string_view>& words) {
  for (const std::string_view word : words)
    CHECK_MESSAGE(text.find(word) != std::string::npos, std::string(word) << " in: " << text);
}

}  // namespace heft::test
