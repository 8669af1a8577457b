#include "core/text.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace heft::core {
namespace {

// Returns the length of the well-formed UTF-8 sequence at the front of `text` (Unicode 15, table 3-7), 0 if there is
// none.
std::size_t sequence_length(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  // 0xC0 and 0xC1 would start overlong forms, 0xF5 and above code points over U+10FFFF.
  const std::size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                             : lead >= 0xE0 && lead <= 0xEF ? 3
                             : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                            : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  // The second byte decides the rest: E0 and F0 need one that no shorter form has, ED must stay below the surrogates
  // (U+D800), F4 below U+110000.
  const std::uint8_t second = byte(1);
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool surrogate = lead == 0xED && second > 0x9F;
  const bool too_large = lead == 0xF4 && second > 0x8F;
  return overlong || surrogate || too_large ? 0 : length;
}

// Returns the code point of a well-formed sequence.
char32_t decoded(std::string_view sequence) noexcept {
  const auto lead = static_cast<std::uint8_t>(sequence[0]);
  if (sequence.size() == 1) return lead;
  // The lead byte has one bit set for each byte of the sequence, then a zero, then the first bits of the code point.
  char32_t value = lead & (0xFFu >> (sequence.size() + 1));
  for (const char c : sequence.substr(1)) value = value << 6 | (static_cast<std::uint8_t>(c) & 0x3Fu);
  return value;
}

// A code point that no text is quoted with.
constexpr char32_t no_quote = 0;

// Appends the escape of `code`, or of `byte` where no code point starts.
void append_escape(std::string& out, CodePoint code, char byte) {
  switch (code.value) {
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    case '\\': out += "\\\\"; return;
    case '\'': out += "\\'"; return;
    default: break;
  }
  // A byte that is not UTF-8 (length 0), or a control of ASCII.
  if (code.length <= 1)
    fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<std::uint8_t>(byte));
  else
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<std::uint32_t>(code.value));
}

// Returns `text` with escapes for code points that are not printable, for `quote` and for the backslash; with no_quote
// the last two stay.
std::string without_controls(std::string_view text, std::size_t limit, char32_t quote) {
  std::string out;
  for (std::size_t characters = 0; !text.empty(); ++characters) {
    if (characters == limit) return out + "...";
    const CodePoint code = first_code_point(text);
    // A byte that starts no sequence is escaped alone, and the search goes on behind it.
    const std::size_t length = std::max<std::size_t>(code.length, 1);
    // The backslash is escaped with the quote: otherwise a name could contain the characters of an escape.
    const bool quoted = quote != no_quote && (code.value == quote || code.value == '\\');
    if (code.length > 0 && is_printable(code.value) && !quoted)
      out += text.substr(0, length);
    else
      append_escape(out, code, text[0]);
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace

CodePoint first_code_point(std::string_view text) noexcept {
  const std::size_t length = sequence_length(text);
  return length == 0 ? CodePoint{} : CodePoint{decoded(text.substr(0, length)), length};
}

bool is_printable(char32_t c) noexcept {
  // Bidirectional marks make a name look like another one ("Trojan Source"); line separators forge lines of a log.
  if (c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C) return false;
  if (c == 0x200E || c == 0x200F) return false;
  return (c < 0x2028 || c > 0x202E) && (c < 0x2066 || c > 0x2069);
}

std::string escaped(std::string_view text, std::size_t limit) { return without_controls(text, limit, '\''); }

std::string printable(std::string message, std::size_t limit) {
  // Most messages are ASCII and short: they are returned as they are.
  const auto is_plain = [](char c) { return c >= ' ' && c <= '~'; };
  if (message.size() <= limit && std::ranges::all_of(message, is_plain)) return message;
  return without_controls(message, limit, no_quote);
}

std::string counted(std::uint64_t count, std::string_view word) {
  return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

std::string counted_are(std::uint64_t count, std::string_view word) {
  return counted(count, word) + (count == 1 ? " is" : " are");
}

std::string with_article(std::string_view word) {
  const bool is_vowel = std::string_view("aeiou").find(word.front()) != std::string_view::npos;
  return fmt::format("{} {}", is_vowel ? "an" : "a", word);
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    // Eight bytes of ASCII at a time: names of tensors hold little else. memcpy, because the text has no alignment.
    if (text.size() >= 8) {
      std::uint64_t word;
      std::memcpy(&word, text.data(), sizeof word);
      if ((word & 0x8080'8080'8080'8080) == 0) {
        text.remove_prefix(8);
        continue;
      }
    }
    const std::size_t length = sequence_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string_view Arena::store(std::string_view text) {
  if (text.empty()) return {};
  char* to = room_for(text.size());
  std::memcpy(to, text.data(), text.size());
  return {to, text.size()};
}

char* Arena::room_for(std::size_t size) {
  // Doubling with bounds: a small file wastes at most 256 bytes, and a large one at most 16 KiB.
  constexpr std::size_t min_block_bytes = 256;
  constexpr std::size_t max_block_bytes = 16u << 10;
  if (size > left_) {
    const std::size_t block_bytes = std::clamp(held_, min_block_bytes, max_block_bytes);
    // A long string gets a separate block, so that the rest of the current block stays usable.
    const bool own = size > block_bytes / 4;
    const std::size_t fresh = own ? size : block_bytes;
    // Counted before it is allocated, so that a file over its budget is refused first.
    charge_.add(fresh);
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(fresh));
    held_ += fresh;
    if (own) return blocks_.back().get();
    at_ = blocks_.back().get();
    left_ = fresh;
  }
  char* to = at_;
  at_ += size;
  left_ -= size;
  return to;
}

}  // namespace heft::core
