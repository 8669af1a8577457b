// record/list_number.hpp: parses parts of a name that are indices of a list.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace heft::record {

/// Returns the number that a part of a name spells, leading zeros allowed; nothing if it has a sign or another
/// character, or does not fit 64 bits.
[[nodiscard]] inline std::optional<std::uint64_t> list_number(std::string_view part) noexcept {
  std::uint64_t number = 0;
  const char* const begin = part.data();
  const char* const end = begin + part.size();
  const auto [stopped, error] = std::from_chars(begin, end, number);
  return error == std::errc() && stopped == end && !part.empty() ? std::optional(number) : std::nullopt;
}

}  // namespace heft::record
