// format/pickle/latin1.hpp: bytes spelled as text, as in protocol 2 of pickle: each byte is the character of that
// number, encoded in UTF-8. So a byte below 128 takes one byte, and any other takes two: C2 or C3, then 80 to BF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace heft::format {

/// Returns the number of characters that start in `text`.
[[nodiscard]] std::uint64_t count_latin1(std::span<const std::byte> text) noexcept;

struct Latin1Progress {
  std::size_t read = 0;     ///< Bytes of the text, whole characters.
  std::size_t written = 0;  ///< Decoded bytes, one for each character.
};

/// Decodes characters until `into` is full or no whole character remains. It stops earlier before a character that is
/// not a byte.
Latin1Progress decode_latin1(std::span<const std::byte> text, std::span<std::byte> into) noexcept;

}  // namespace heft::format
