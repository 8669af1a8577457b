// format/json/writer.hpp: JSON on the way out.
#pragma once

#include <string>
#include <string_view>

namespace heft::format {

enum class JsonEscapes : bool {
  /// Quotes, backslashes and controls below U+0020, as JSON demands: what other writers of a format write too. The text is UTF-8.
  required,
  /// Those, and all else that core::is_printable() refuses, as \uXXXX: the text's value is the same. Each byte that is no UTF-8 becomes
  /// U+FFFD, so the string is valid whatever the bytes are.
  printable,
};

/// Appends `text` as a JSON string with its quotes.
void append_json_string(std::string& to, std::string_view text, JsonEscapes escapes = JsonEscapes::required);

}  // namespace heft::format
