#include "format/json/writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "core/text.hpp"

namespace heft::format {
namespace {

// Appends an escape that JSON requires, in its short form if there is one, as serde_json and Python do.
void append_escape(std::string& to, char c) {
  switch (c) {
    case '"': to += "\\\""; return;
    case '\\': to += "\\\\"; return;
    case '\b': to += "\\b"; return;
    case '\f': to += "\\f"; return;
    case '\n': to += "\\n"; return;
    case '\r': to += "\\r"; return;
    case '\t': to += "\\t"; return;
    // The other controls below U+0020 have no short form.
    default: fmt::format_to(std::back_inserter(to), "\\u{:04x}", static_cast<unsigned char>(c));
  }
}

bool must_be_escaped(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; }

bool is_plain(char c) noexcept { return c >= ' ' && c <= '~' && !must_be_escaped(c); }

// Appends the first code point of `text` and returns its length. Code points that are not printable are below U+10000,
// so four hexadecimal digits suffice.
std::size_t append_printable(std::string& to, std::string_view text) {
  const core::CodePoint code = core::first_code_point(text);
  // A byte that is not UTF-8: one replacement character for each, and one byte is consumed.
  if (code.length == 0)
    to += "\uFFFD";
  else if (core::is_printable(code.value))
    to += text.substr(0, code.length);
  else
    fmt::format_to(std::back_inserter(to), "\\u{:04x}", static_cast<std::uint32_t>(code.value));
  return std::max<std::size_t>(code.length, 1);
}

}  // namespace

void append_json_string(std::string& to, std::string_view text, JsonEscapes escapes) {
  to += '"';
  // A code point at a time. With `required`, bytes from 0x80 on are copied: the text is UTF-8, and JSON requires no
  // escape for it. With `printable`, append_printable() decodes them.
  while (!text.empty()) {
    std::size_t length = 1;
    if (is_plain(text[0]) || (escapes == JsonEscapes::required && !must_be_escaped(text[0])))
      to += text[0];
    else if (must_be_escaped(text[0]))
      append_escape(to, text[0]);
    else
      length = append_printable(to, text);
    text.remove_prefix(length);
  }
  to += '"';
}

}  // namespace heft::format
