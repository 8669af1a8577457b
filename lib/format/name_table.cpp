#include "format/name_table.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>
#include <utility>

namespace heft::format {
namespace {

constexpr std::uint64_t odd_a = 0x9E37'79B9'7F4A'7C15;
constexpr std::uint64_t odd_b = 0xD1B5'4A32'D192'ED03;

// Both halves of a 128-bit product, folded: every bit of either factor reaches every bit of the result.
std::uint64_t fold(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using u128 = unsigned __int128;
  const u128 product = static_cast<u128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

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

// All bytes of up to 8, in a word; the length tells apart what looks the same.
std::uint64_t load_short(const char* from, std::size_t size) noexcept {
  if (size >= 4) return load4(from) << 32 | load4(from + size - 4);
  if (size == 0) return 0;
  const auto byte = [&](std::size_t i) { return std::uint64_t{static_cast<unsigned char>(from[i])}; };
  return byte(0) << 16 | byte(size / 2) << 8 | byte(size - 1);
}

}  // namespace

NameTable::NameTable(std::size_t expected) {
  names_.reserve(expected);
  std::random_device random;
  key_ = (std::uint64_t{random()} << 32) | random();
  widen(std::bit_ceil(std::max<std::size_t>(expected, 16) * 2));
}

std::uint64_t NameTable::hash(std::string_view name) const noexcept {
  const std::uint64_t key = key_ ^ odd_a;
  std::uint64_t state = key_ ^ name.size();
  const char* at = name.data();
  std::size_t left = name.size();
  for (; left > 16; at += 16, left -= 16) state = fold(load8(at) ^ key, load8(at + 8) ^ state ^ odd_b);
  // The last words may overlap each other.
  const std::uint64_t low = left > 8 ? load8(at) : load_short(at, left);
  const std::uint64_t high = left > 8 ? load8(at + left - 8) : 0;
  return fold(fold(low ^ key, high ^ state ^ odd_b), key_ ^ odd_b);
}

std::size_t NameTable::slot(std::string_view name, std::uint64_t code) const noexcept {
  const std::size_t mask = slots_.size() - 1;
  const Slot wanted = tag(code);
  for (std::size_t i = code & mask;; i = (i + 1) & mask) {
    const Slot held = slots_[i];
    if (held == 0 || ((held & ~number_mask_) == wanted && names_[(held & number_mask_) - 1] == name)) return i;
  }
}

std::optional<std::uint32_t> NameTable::find(std::string_view name) const noexcept {
  const Slot held = slots_[slot(name, hash(name))];
  if (held == 0) return std::nullopt;
  return (held & number_mask_) - 1;
}

NameTable::Place NameTable::add(std::string_view name) {
  if (names_.size() * 2 >= slots_.size()) widen(slots_.size() * 4);
  const std::uint64_t code = hash(name);
  Slot& place = slots_[slot(name, code)];
  if (place != 0) return {(place & number_mask_) - 1, false};
  names_.push_back(name);
  place = static_cast<Slot>(names_.size()) | tag(code);
  return {static_cast<std::uint32_t>(names_.size() - 1), true};
}

void NameTable::widen(std::size_t slots) {
  slots_.assign(slots, 0);
  number_mask_ = static_cast<std::uint32_t>(slots - 1);  // numbers go up to half the slots
  for (std::size_t index = 0; index < names_.size(); ++index) {
    const std::uint64_t code = hash(names_[index]);
    std::size_t i = code & (slots - 1);
    while (slots_[i] != 0) i = (i + 1) & (slots - 1);
    slots_[i] = static_cast<Slot>(index + 1) | tag(code);
  }
}

}  // namespace heft::format
