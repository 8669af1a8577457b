#include "core/text.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace heft::core {
namespace {

// Length of the well-formed UTF-8 sequence at the front of `text` (Unicode 15, table 3-7), 0 when it is not one.
std::size_t sequence_length(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xC2 && lead <= 0xDF ? 2 : lead >= 0xE0 && lead <= 0xEF ? 3 : lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  const std::uint8_t second = byte(1);
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool surrogate = lead == 0xED && second > 0x9F;
  const bool too_large = lead == 0xF4 && second > 0x8F;
  return overlong || surrogate || too_large ? 0 : length;
}

// C1 controls, line and paragraph separators and direction marks: printable to a terminal in ways that mislead a reader.
bool is_misleading(std::string_view sequence) noexcept {
  return (sequence.size() == 2 && sequence[0] == '\xC2' && static_cast<std::uint8_t>(sequence[1]) < 0xA0) ||
         (sequence.size() == 3 && sequence.starts_with("\xE2\x80") && static_cast<std::uint8_t>(sequence[2]) >= 0xA8 &&
          static_cast<std::uint8_t>(sequence[2]) <= 0xAE) ||
         (sequence.size() == 3 && sequence.starts_with("\xE2\x81") && static_cast<std::uint8_t>(sequence[2]) >= 0xA6 &&
          static_cast<std::uint8_t>(sequence[2]) <= 0xA9);
}

void append_escaped_byte(std::string& out, char c) {
  switch (c) {
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    case '\\': out += "\\\\"; return;
    case '\'': out += "\\'"; return;
    default: fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<std::uint8_t>(c));
  }
}

bool is_plain(char c) noexcept { return c >= ' ' && c <= '~' && c != '\\' && c != '\''; }

}  // namespace

std::string escaped(std::string_view text, std::size_t limit) {
  std::string out;
  std::size_t characters = 0;
  while (!text.empty()) {
    if (characters++ == limit) return out + "...";
    const std::size_t length = sequence_length(text);
    if (length == 1 && is_plain(text[0])) out += text[0];
    else if (length > 1 && !is_misleading(text.substr(0, length))) out += text.substr(0, length);
    else for (const char c : text.substr(0, std::max<std::size_t>(length, 1))) append_escaped_byte(out, c);
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
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
  constexpr std::size_t block_bytes = 16u << 10;
  if (size > left_) {
    // A long string gets a block of its own, so that the rest of the current one is not lost.
    const bool own = size > block_bytes / 4;
    const std::size_t fresh = own ? size : block_bytes;
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
