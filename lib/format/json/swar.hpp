// format/json/swar.hpp: tests and conversions of eight characters at a time, held in one 64-bit word (SWAR). Most of
// the time of parsing a header is spent here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/endian.hpp"

namespace heft::format {

inline constexpr std::uint64_t eight_ones = 0x0101'0101'0101'0101;  ///< 1 in every byte.
inline constexpr std::uint64_t eight_tops = eight_ones << 7;        ///< The top bit of every byte.

/// Returns the eight characters at `from`, the first in the lowest byte.
inline std::uint64_t load_eight(const char* from) noexcept {
  return core::load_le<std::uint64_t>(reinterpret_cast<const std::byte*>(from));
}

/// Returns the position of the first of eight characters that needs a closer look inside a string: a quote, a
/// backslash, a control character or a byte of a longer UTF-8 sequence. 8 if there is none.
inline std::size_t first_special(const char* from) noexcept {
  const auto word = load_eight(from);
  // x - n borrows from the byte above if a byte is less than n: false hits lie only above a true one, and only the
  // lowest hit is used.
  const std::uint64_t quote = word ^ (eight_ones * '"');
  const std::uint64_t backslash = word ^ (eight_ones * '\\');
  const std::uint64_t hits =
      ((quote - eight_ones) | (backslash - eight_ones) | (word - eight_ones * ' ') | word) & eight_tops;
  return hits == 0 ? 8 : static_cast<std::size_t>(__builtin_ctzll(hits)) / 8;
}

/// The digits at the front of eight characters: their count and the number they spell.
struct Digits {
  std::size_t count;
  std::uint64_t number;
};
inline Digits leading_digits(const char* from) noexcept {
  std::uint64_t word = load_eight(from) ^ (eight_ones * '0');
  // A byte above 9 gets its top bit set by adding 0x76, or has it already.
  const std::uint64_t others = (((word & ~eight_tops) + eight_ones * 0x76) | word) & eight_tops;
  const std::size_t count = others == 0 ? 8 : static_cast<std::size_t>(__builtin_ctzll(others)) / 8;
  if (count == 0) return {0, 0};
  // The shift drops the characters after the digits and puts zeros in front. Then neighbours are combined into numbers
  // of two digits, four, and eight.
  word <<= 64 - 8 * count;
  word = (word * 10 + (word >> 8)) & 0x00FF'00FF'00FF'00FF;
  word = (word * 100 + (word >> 16)) & 0x0000'FFFF'0000'FFFF;
  return {count, (word * 10000 + (word >> 32)) & 0xFFFF'FFFF};
}

}  // namespace heft::format
