#include "format/json_text.hpp"

#include <fmt/format.h>

#include <iterator>

namespace heft::format {
namespace {

// The escapes that JSON demands, the short form where there is one: what serde_json and Python write too.
void append_escape(std::string& to, char c) {
  switch (c) {
    case '"': to += "\\\""; return;
    case '\\': to += "\\\\"; return;
    case '\b': to += "\\b"; return;
    case '\f': to += "\\f"; return;
    case '\n': to += "\\n"; return;
    case '\r': to += "\\r"; return;
    case '\t': to += "\\t"; return;
    default: fmt::format_to(std::back_inserter(to), "\\u{:04x}", static_cast<unsigned char>(c));
  }
}

}  // namespace

void append_json_string(std::string& to, std::string_view text) {
  to += '"';
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\') append_escape(to, c);
    else to += c;
  }
  to += '"';
}

}  // namespace heft::format
