// Writes MessagePack item by item, valid or not. Items are strings, so that they can be joined with +.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "support/cbor_builder.hpp"

namespace heft::test::pack {

inline std::string sized(const char* type, std::uint64_t number, std::size_t bytes) {
  return type + cbor::big(number, bytes);
}

inline std::string nil() { return "\xC0"; }
inline std::string boolean(bool value) { return value ? "\xC3" : "\xC2"; }
inline std::string natural(std::uint64_t value) {
  return value < 128 ? std::string(1, static_cast<char>(value)) : sized("\xCF", value, 8);
}
inline std::string integer(std::int64_t value) { return sized("\xD3", static_cast<std::uint64_t>(value), 8); }
inline std::string real32(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return sized("\xCA", bits, 4);
}
inline std::string real64(double value) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return sized("\xCB", bits, 8);
}
inline std::string text(std::string_view value) {
  return (value.size() < 32 ? std::string(1, static_cast<char>(0xA0 | value.size())) : sized("\xDB", value.size(), 4))
      .append(value);
}
inline std::string bytes(std::string_view value) { return sized("\xC6", value.size(), 4).append(value); }
inline std::string extension(int type, std::string_view value) {
  return (sized("\xC9", value.size(), 4) + static_cast<char>(type)).append(value);
}
inline std::string joined(std::string head, const std::vector<std::string>& items) {
  for (const std::string& item : items) head += item;
  return head;
}
inline std::string list(const std::vector<std::string>& items) {
  return joined(
      items.size() < 16 ? std::string(1, static_cast<char>(0x90 | items.size())) : sized("\xDD", items.size(), 4),
      items);
}
/// `items` are encoded keys and values in turn.
inline std::string map(const std::vector<std::string>& items) {
  return joined(items.size() < 32 ? std::string(1, static_cast<char>(0x80 | items.size() / 2))
                                  : sized("\xDF", items.size() / 2, 4),
                items);
}
inline std::string shape(const std::vector<std::uint64_t>& dims) {
  std::vector<std::string> items;
  for (const std::uint64_t dim : dims) items.push_back(natural(dim));
  return list(items);
}

}  // namespace heft::test::pack
