// A JSON file of expected values as a tree, read by the library's reader.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/json/reader.hpp"

namespace heft::test {

struct JsonTree {
  format::json::Kind kind = format::json::Kind::null;
  std::string text;
  double number = 0;
  bool boolean = false;
  std::vector<std::pair<std::string, JsonTree>> members;
  std::vector<JsonTree> elements;

  /// Returns the member of that name; a null tree when there is none.
  [[nodiscard]] const JsonTree& operator[](std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const;
};

/// Throws std::runtime_error or heft::Error when the file cannot be read.
[[nodiscard]] JsonTree read_json(const std::filesystem::path& path);

/// Returns all bytes of a file.
[[nodiscard]] std::string read_file(const std::filesystem::path& path);

}  // namespace heft::test
