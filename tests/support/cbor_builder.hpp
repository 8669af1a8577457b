// Writes CBOR item by item, valid or not. Items are strings, so that they can be joined with +.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "support/zip_builder.hpp"

namespace heft::test::cbor {

inline std::string big(std::uint64_t value, std::size_t bytes) {
  std::string number = little(value, bytes);
  std::ranges::reverse(number);
  return number;
}
/// Returns the head of an item: its major type and its number.
inline std::string head(unsigned major, std::uint64_t number) {
  const auto first = [major](unsigned low) { return std::string(1, static_cast<char>(major << 5 | low)); };
  if (number < 24) return first(static_cast<unsigned>(number));
  if (number <= 0xFF) return first(24) + big(number, 1);
  if (number <= 0xFFFF) return first(25) + big(number, 2);
  if (number <= 0xFFFFFFFF) return first(26) + big(number, 4);
  return first(27) + big(number, 8);
}
inline std::string natural(std::uint64_t value) { return head(0, value); }
/// Returns the item of the number -1 - value.
inline std::string negative(std::uint64_t value) { return head(1, value); }
inline std::string text(std::string_view value) { return head(3, value.size()).append(value); }
inline std::string boolean(bool value) { return value ? "\xF5" : "\xF4"; }
inline std::string real_bits(std::uint64_t bits) { return "\xFB" + big(bits, 8); }
/// `items` are encoded items.
inline std::string list(const std::vector<std::string>& items) {
  std::string bytes = head(4, items.size());
  for (const std::string& item : items) bytes += item;
  return bytes;
}
/// `items` are encoded keys and values in turn.
inline std::string map(const std::vector<std::string>& items) {
  std::string bytes = head(5, items.size() / 2);
  for (const std::string& item : items) bytes += item;
  return bytes;
}

/// Returns a list, map, text or bytes of indefinite length: `items` are encoded items, keys and values in turn, or chunks.
inline std::string indefinite(unsigned major, const std::vector<std::string>& items) {
  std::string bytes(1, static_cast<char>(major << 5 | 31));
  for (const std::string& item : items) bytes += item;
  return bytes + "\xFF";
}

/// Returns the item at the front of `from`, which it passes over, with every length in it indefinite: texts and bytes in
/// chunks of up to 3 bytes, behind an empty one. Requires valid CBOR without tags and with ASCII texts.
inline std::string with_indefinite_lengths(std::string_view& from) {
  const auto first = static_cast<unsigned char>(from[0]);
  const unsigned low = first & 31;
  const std::size_t width = low < 24 ? 0 : std::size_t{1} << (low - 24);
  std::uint64_t number = low < 24 ? low : 0;
  for (std::size_t i = 0; i < width; ++i) number = number << 8 | static_cast<unsigned char>(from[1 + i]);
  const unsigned major = first >> 5;
  const std::string start(from.substr(0, 1 + width));
  from.remove_prefix(1 + width);
  std::vector<std::string> items;
  if (major == 2 || major == 3) {
    items.push_back(head(major, 0));
    for (std::size_t at = 0; at < number; at += 3) {
      const std::string_view chunk = from.substr(at, std::min<std::size_t>(3, number - at));
      items.push_back(head(major, chunk.size()).append(chunk));
    }
    from.remove_prefix(number);
  } else if (major == 4 || major == 5) {
    for (std::uint64_t i = 0; i < number * (major - 3); ++i) items.push_back(with_indefinite_lengths(from));
  } else {
    return start;
  }
  return indefinite(major, items);
}

}  // namespace heft::test::cbor
