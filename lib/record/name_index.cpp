#include "record/name_index.hpp"

#include <bit>
#include <random>

#include "core/endian.hpp"

namespace heft::record {
namespace {

// Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), with one round a word and three at the end.
struct Sip {
  std::uint64_t a, b, c, d;

  void round() noexcept {
    a += b; b = std::rotl(b, 13); b ^= a; a = std::rotl(a, 32);
    c += d; d = std::rotl(d, 16); d ^= c;
    a += d; d = std::rotl(d, 21); d ^= a;
    c += b; b = std::rotl(b, 17); b ^= c; c = std::rotl(c, 32);
  }

  void absorb(std::uint64_t word) noexcept {
    d ^= word;
    round();
    a ^= word;
  }

  [[nodiscard]] std::uint64_t finish() noexcept {
    c ^= 0xff;
    round();
    round();
    round();
    return a ^ b ^ c ^ d;
  }
};

std::uint64_t tail_word(const char* from, std::size_t size, std::size_t total) noexcept {
  std::uint64_t word = static_cast<std::uint64_t>(total) << 56;
  for (std::size_t i = 0; i < size; ++i) word |= static_cast<std::uint64_t>(static_cast<unsigned char>(from[i])) << (8 * i);
  return word;
}

}  // namespace

NameHash::NameHash() {
  std::random_device random;
  for (std::uint64_t& word : key_) word = static_cast<std::uint64_t>(random()) << 32 | random();
}

std::uint64_t NameHash::operator()(std::string_view text, std::uint64_t salt) const noexcept {
  Sip sip{key_[0] ^ 0x736f6d6570736575, key_[1] ^ 0x646f72616e646f6d, key_[0] ^ 0x6c7967656e657261, key_[1] ^ 0x7465646279746573};
  sip.absorb(salt);
  const char* at = text.data();
  std::size_t left = text.size();
  for (; left >= 8; left -= 8, at += 8) sip.absorb(core::load_le<std::uint64_t>(reinterpret_cast<const std::byte*>(at)));
  sip.absorb(tail_word(at, left, text.size()));
  return sip.finish();
}

}  // namespace heft::record
