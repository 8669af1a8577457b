// A check that text contains nothing that controls a terminal or a log. Written from Unicode's tables, independently of
// lib/core/text.cpp, which it tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace heft::test {

enum class Lines : bool {
  one,   ///< No line feed.
  many,  ///< Line feeds, as commands print them.
};

/// Returns the offset of the first byte of `text` that is not printable, or npos. Not printable are bytes below 0x20,
/// 0x7f, C1 controls, line and paragraph separators, direction marks, and bytes that are not UTF-8.
inline std::size_t unprintable_at(std::string_view text, Lines lines = Lines::one) {
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = [&](std::size_t i) {
      return at + i < text.size() ? static_cast<std::uint8_t>(text[at + i]) : std::uint8_t{0};
    };
    const std::uint8_t lead = byte(0);
    if (lead < 0x80) {
      if ((lead < 0x20 && !(lead == '\n' && lines == Lines::many)) || lead == 0x7F) return at;
      ++at;
      continue;
    }
    const std::size_t length = (lead >> 5) == 6 ? 2 : (lead >> 4) == 14 ? 3 : (lead >> 3) == 30 ? 4 : 0;
    if (length == 0) return at;
    std::uint32_t code = lead & (0x7Fu >> length);
    for (std::size_t i = 1; i < length; ++i) {
      if ((byte(i) & 0xC0) != 0x80) return at;
      code = code << 6 | (byte(i) & 0x3Fu);
    }
    const std::uint32_t least = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000;
    if (code < least || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return at;
    const bool control = code < 0xA0;
    const bool direction = code == 0x61C || code == 0x200E || code == 0x200F || (code >= 0x202A && code <= 0x202E) ||
                           (code >= 0x2066 && code <= 0x2069);
    const bool separator = code == 0x2028 || code == 0x2029;
    if (control || direction || separator) return at;
    at += length;
  }
  return std::string_view::npos;
}

/// Throws std::logic_error, which fails a test and stops a fuzzer, unless `text` is printable. `what` names the text.
inline void require_printable(std::string_view text, const char* what, Lines lines = Lines::one) {
  const std::size_t at = unprintable_at(text, lines);
  if (at != std::string_view::npos)
    throw std::logic_error(std::string(what) + " is not printable at byte " + std::to_string(at));
}

}  // namespace heft::test
