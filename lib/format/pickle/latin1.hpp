// format/pickle/latin1.hpp: bytes spelled as text, as protocol 2 of pickle does: each byte is the character of that number,
// and the text lies in UTF-8. So a byte below 128 is itself, and any other one is two: C2 or C3, then 80 to BF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace heft::format {

/// How many characters begin in `text`.
[[nodiscard]] std::uint64_t count_latin1(std::span<const std::byte> text) noexcept;

struct Latin1Progress {
  std::size_t read = 0;     ///< Bytes of the text, whole characters.
  std::size_t written = 0;  ///< Bytes, one for each.
};

/// Decodes characters until `into` is full or no whole character is left. Fewer of both means that a character follows
/// which is no byte, or which `text` cuts.
Latin1Progress decode_latin1(std::span<const std::byte> text, std::span<std::byte> into) noexcept;

}  // namespace heft::format
