// format/json/writer.hpp: escaping of JSON strings.
#pragma once

#include <string>
#include <string_view>

namespace heft::format {

enum class JsonEscapes : bool {
  /// Escapes quotes, backslashes and controls below U+0020, as JSON requires and as other writers of the formats do.
  /// The text must be UTF-8.
  required,
  /// Escapes those, and all code points for which core::is_printable() is false, as \uXXXX. The value of the string is
  /// the same. Each byte that is not UTF-8 becomes U+FFFD, so the result is valid for any bytes.
  printable,
};

/// Appends `text` as a JSON string with its quotes.
void append_json_string(std::string& to, std::string_view text, JsonEscapes escapes = JsonEscapes::required);

}  // namespace heft::format
