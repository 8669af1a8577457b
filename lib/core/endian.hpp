// core/endian.hpp: loads and stores of fixed-width numbers in unaligned bytes, independent of the host's byte order.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace heft::core {

/// Returns `value` with its bytes reversed.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T byte_swapped(T value) noexcept {
  if constexpr (sizeof(T) == 1)
    return value;
  else if constexpr (sizeof(T) == 2)
    return __builtin_bswap16(value);
  else if constexpr (sizeof(T) == 4)
    return __builtin_bswap32(value);
  else
    return __builtin_bswap64(value);
}

/// Returns the little-endian number in the sizeof(T) bytes at `from`. T is an integer or a floating-point type.
template <class T>
[[nodiscard]] T load_le(const std::byte* from) noexcept {
  using Bits = std::conditional_t<sizeof(T) == 1, std::uint8_t,
                                  std::conditional_t<sizeof(T) == 2, std::uint16_t,
                                                     std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>>;
  static_assert(sizeof(Bits) == sizeof(T));
  Bits bits;
  std::memcpy(&bits, from, sizeof bits);
  if constexpr (std::endian::native == std::endian::big) bits = byte_swapped(bits);
  return std::bit_cast<T>(bits);
}

/// Returns the big-endian number in the sizeof(T) bytes at `from`.
template <class T>
[[nodiscard]] T load_be(const std::byte* from) noexcept {
  std::byte reversed[sizeof(T)];
  for (std::size_t i = 0; i < sizeof(T); ++i) reversed[i] = from[sizeof(T) - 1 - i];
  return load_le<T>(reversed);
}

/// Writes `value` at `to`, little-endian.
template <class T>
void store_le(std::byte* to, T value) noexcept {
  std::memcpy(to, &value, sizeof value);
  if constexpr (std::endian::native == std::endian::big)
    for (std::size_t i = 0; i < sizeof(T) / 2; ++i) std::swap(to[i], to[sizeof(T) - 1 - i]);
}

/// Appends `value` to `bytes`, little-endian.
template <class T>
void append_le(std::string& bytes, T value) {
  std::byte stored[sizeof(T)];
  store_le(stored, value);
  bytes.append(reinterpret_cast<const char*>(stored), sizeof stored);
}

}  // namespace heft::core
