#include "format/pickle/latin1.hpp"

#include <algorithm>
#include <cstring>

namespace heft::format {
namespace {

// Returns true for eight bytes of ASCII, which are frequent in text of small integers.
bool is_ascii(const std::byte* from) noexcept {
  std::uint64_t word;
  std::memcpy(&word, from, sizeof word);
  return (word & 0x8080808080808080u) == 0;
}

}  // namespace

std::uint64_t count_latin1(std::span<const std::byte> text) noexcept {
  std::uint64_t count = 0;
  // Counts bytes that do not continue a character.
  for (const std::byte byte : text) count += (byte & std::byte{0xC0}) != std::byte{0x80};
  return count;
}

Latin1Progress decode_latin1(std::span<const std::byte> text, std::span<std::byte> into) noexcept {
  const std::byte* from = text.data();
  const std::byte* const end = from + text.size();
  std::byte* to = into.data();
  std::byte* const full = to + into.size();
  // The lengths of characters are random, so a branch on them would be mispredicted. While two bytes remain, characters
  // of one and of two bytes are decoded by the same code without a branch.
  while (end - from > 1 && to != full) {
    if (end - from >= 8 && full - to >= 8 && is_ascii(from)) {
      std::memcpy(to, from, 8);
      from += 8;
      to += 8;
      continue;
    }
    const auto first = std::to_integer<unsigned>(from[0]);
    const auto second = std::to_integer<unsigned>(from[1]);
    // C2 and C3 are the heads of U+0080 to U+00FF; their last bit is bit 6 of the value. `|` and `&` instead of `||`
    // and `&&` keep the condition free of branches.
    const unsigned is_two = first >> 7;
    const bool is_byte = (is_two == 0) | (((first & 0xFE) == 0xC2) & ((second & 0xC0) == 0x80));
    if (!is_byte) break;
    *to++ = static_cast<std::byte>(is_two != 0 ? (first << 6 | (second & 0x3F)) & 0xFF : first);
    from += 1 + is_two;
  }
  if (end - from == 1 && to != full && *from < std::byte{0x80}) *to++ = *from++;
  return {static_cast<std::size_t>(from - text.data()), static_cast<std::size_t>(to - into.data())};
}

}  // namespace heft::format
