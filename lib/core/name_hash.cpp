#include "core/name_hash.hpp"

#include <cstddef>
#include <cstring>
#include <random>

namespace heft::core {
namespace {

// Odd numbers with mixed bits (the first is 2^64 divided by the golden ratio). Xored into the factors of fold(), they
// turn small and equal words into large and different ones.
constexpr std::uint64_t odd_a = 0x9E37'79B9'7F4A'7C15;
constexpr std::uint64_t odd_b = 0xD1B5'4A32'D192'ED03;

// Returns both halves of a 128-bit product, folded: every bit of either factor reaches every bit of the result.
std::uint64_t fold(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using u128 = unsigned __int128;
  const u128 product = static_cast<u128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

// Loads of the host's byte order: the hash is not stored and is compared only within the process.
std::uint64_t load8(const char* from) noexcept {
  std::uint64_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

std::uint64_t load4(const char* from) noexcept {
  std::uint32_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// Returns up to 8 bytes in a word. Texts of different lengths can give the same word; the length is hashed too.
std::uint64_t load_short(const char* from, std::size_t size) noexcept {
  // The two loads overlap for sizes below 8. Reading a whole word past the end of the text could fault.
  if (size >= 4) return load4(from) << 32 | load4(from + size - 4);
  if (size == 0) return 0;
  // For 1 to 3 bytes: the first, the middle and the last are all of them.
  const auto byte = [&](std::size_t i) { return std::uint64_t{static_cast<unsigned char>(from[i])}; };
  return byte(0) << 16 | byte(size / 2) << 8 | byte(size - 1);
}

// Returns 128 bits of the system's random source. std::random_device gives 32 bits at a time.
std::array<std::uint64_t, 2> draw_key() {
  std::random_device random;
  const auto word = [&] { return std::uint64_t{random()} << 32 | random(); };
  const std::uint64_t first = word();
  return {first, word()};
}

}  // namespace

NameHash::NameHash() {
  // The initialization of a local static is thread-safe: the first of several threads draws the key, the others wait.
  static const std::array<std::uint64_t, 2> key = draw_key();
  key_ = key;
}

// The salt is multiplied under the key before the text is mixed in. If it were only xored, a text could cancel it.
std::uint64_t NameHash::operator()(std::string_view text, std::uint64_t salt) const noexcept {
  const std::uint64_t key = key_[0] ^ odd_a;
  std::uint64_t state = fold(salt ^ key_[1], key ^ text.size());
  const char* at = text.data();
  std::size_t left = text.size();
  // Leaves 1 to 16 bytes of a longer text, so that both words below come from the text.
  for (; left > 16; at += 16, left -= 16) state = fold(load8(at) ^ key, load8(at + 8) ^ state ^ odd_b);
  // The last two words can overlap.
  const std::uint64_t low = left > 8 ? load8(at) : load_short(at, left);
  const std::uint64_t high = left > 8 ? load8(at + left - 8) : 0;
  return fold(fold(low ^ key, high ^ state ^ odd_b), key_[1] ^ odd_b);
}

}  // namespace heft::core
