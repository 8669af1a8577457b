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

}  // namespace heft::test::cbor
