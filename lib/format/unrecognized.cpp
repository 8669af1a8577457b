#include "format/unrecognized.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "core/text.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::size_t max_quoted = 80;  // characters
constexpr std::size_t max_hex = 8;      // bytes
constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
constexpr char escape = '\x1B';
constexpr std::string_view white_space = " \t\r\n\f\v";

// Returns the text with ASCII letters in lower case.
std::string small_letters(std::string_view text) {
  std::string small(text);
  for (char& c : small)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return small;
}

/// Returns `text` without leading and trailing white space.
std::string_view trimmed(std::string_view text) noexcept {
  text.remove_prefix(std::min(text.find_first_not_of(white_space), text.size()));
  return text.substr(0, text.find_last_not_of(white_space) + 1);
}

/// Returns true for UTF-8 whose only control characters are white space and terminal escapes. The last character can be
/// incomplete, because the head ends anywhere.
bool is_text(std::string_view head) noexcept {
  // The escape character is allowed for text with terminal colours.
  const bool printable = std::ranges::all_of(head, [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 ? c != 0x7F : c == escape || white_space.find(c) != white_space.npos;
  });
  // A character of UTF-8 has up to four bytes, so at most three of the last one are missing.
  for (std::size_t cut = 0; printable && cut < 4 && cut < head.size(); ++cut)
    if (core::is_utf8(head.substr(0, head.size() - cut))) return true;
  return false;
}

/// Returns the title of a web page, or an empty text.
std::string_view title(std::string_view page, const std::string& small) {
  // Found in lower case and cut from the original, whose offsets are the same. Attributes can precede the '>'.
  const std::size_t tag = small.find("<title");
  const std::size_t start = tag == small.npos ? tag : small.find('>', tag);
  const std::size_t end = start == small.npos ? start : small.find("</title", start);
  return end == small.npos ? std::string_view() : trimmed(page.substr(start + 1, end - start - 1));
}

// Returns a line for a message: trimmed, escaped, shortened, in quotes.
std::string quoted(std::string_view line) { return fmt::format("'{}'", core::escaped(trimmed(line), max_quoted)); }

/// Returns the kind of the text and its title or first line.
std::string kind_of_text(std::string_view text) {
  // Windows programs begin UTF-8 with it.
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  text = trimmed(text);
  const std::string_view line = text.substr(0, text.find_first_of("\r\n"));
  const std::string small = small_letters(text);
  // A login or an error page, which a browser or curl saved under the model's name.
  if (small.starts_with("<!doctype html") || small.find("<html") != small.npos) {
    const std::string_view name = title(text, small);
    return fmt::format("an HTML page, {}", quoted(name.empty() ? line : name));
  }
  if (text.starts_with('<')) return fmt::format("XML, {}", quoted(text.starts_with("<?xml") ? text : line));
  if (text.starts_with('{') || text.starts_with('['))
    // The first line of indented JSON is a bracket alone, which would describe nothing.
    return fmt::format("JSON, {}", quoted(line.size() > 1 ? line : text));
  return fmt::format("text, {}", quoted(line));
}

// Returns the first bytes in hexadecimal, separated by blanks.
std::string hexadecimal(std::span<const std::byte> head) {
  std::string hex;
  for (const std::byte byte : head.first(std::min(head.size(), max_hex)))
    hex += fmt::format("{}{:02x}", hex.empty() ? "" : " ", std::to_integer<unsigned>(byte));
  return hex;
}

// Returns the sentence for the first bytes of a file that no format matches.
std::string message(std::span<const std::byte> head, std::uint64_t file_size) {
  if (file_size == 0) return "expected model weights, the file is empty: download it again";
  // Download programs reserve the space of the file before they write it.
  if (std::ranges::all_of(head, [](std::byte byte) { return byte == std::byte{0}; }))
    return fmt::format(
        "expected model weights, the first {} of {} bytes are zero: a download set the room aside and did not fill it, "
        "download it again",
        head.size(), file_size);
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  // White space alone has no line to quote, so its bytes are shown.
  if (is_text(text) && !trimmed(text).empty())
    return fmt::format(
        "expected model weights, this is {}: a server's message or another file in their place, download them again",
        kind_of_text(text));
  return fmt::format("expected a format heft reads, the first bytes are {}", hexadecimal(head));
}

}  // namespace

void refuse_unknown(std::span<const std::byte> head, std::uint64_t file_size) {
  throw Error(ErrorCode::unrecognized, message(head, file_size));
}

}  // namespace heft::format
