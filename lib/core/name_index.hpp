// core/name_index.hpp: an open-addressing table of 32-bit slots from flat names to positions. A lookup allocates
// nothing.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace heft::core {

/// Positions 0..count-1 by name. The caller stores the names: every call takes `same(position)`, which compares one.
///
/// A slot holds a position and, in the bits that positions of this table do not need, bits of the hash. A probe
/// compares those first and seldom compares another name.
class NameIndex {
 public:
  static constexpr std::uint32_t none = 0xFFFFFFFF;

  NameIndex() = default;
  /// Reserves slots for positions below `count` < 2^31; at most two thirds of the slots are used.
  explicit NameIndex(std::size_t count)
      : slots_(std::bit_ceil(count + count / 2 + 2), empty), position_mask_(std::bit_ceil(count + 1) - 1) {}

  /// Inserts `position` and returns `none`; or inserts nothing and returns the stored position for which
  /// `same(position)` holds.
  template <class Same>
  std::uint32_t insert(std::uint64_t hash, std::uint32_t position, const Same& same) {
    const std::size_t slot = probe(hash, same);
    if (slots_[slot] != empty) return slots_[slot] & position_mask_;
    slots_[slot] = position | tag(hash);
    return none;
  }

  /// Returns the position for which `same(position)` holds, or `none`.
  template <class Same>
  [[nodiscard]] std::uint32_t find(std::uint64_t hash, const Same& same) const noexcept {
    if (slots_.empty()) return none;
    const std::uint32_t slot = slots_[probe(hash, same)];
    return slot == empty ? none : slot & position_mask_;
  }

  /// Returns the bytes of an index for `count` positions.
  [[nodiscard]] static std::size_t size_for(std::size_t count) noexcept {
    return std::bit_ceil(count + count / 2 + 2) * sizeof(std::uint32_t);
  }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return slots_.capacity() * sizeof(std::uint32_t); }

 private:
  static constexpr std::uint32_t empty = 0xFFFFFFFF;

  // The low half of the hash chooses the slot, so bits of the high half distinguish names in neighbouring slots. A slot
  // never equals `empty`, because a position is below the mask.
  [[nodiscard]] std::uint32_t tag(std::uint64_t hash) const noexcept {
    return static_cast<std::uint32_t>(hash >> 32) & ~position_mask_;
  }

  template <class Same>
  [[nodiscard]] std::size_t probe(std::uint64_t hash, const Same& same) const {
    const std::size_t mask = slots_.size() - 1;
    const std::uint32_t wanted = tag(hash);
    for (std::size_t slot = hash & mask;; slot = (slot + 1) & mask) {
      const std::uint32_t held = slots_[slot];
      if (held == empty || ((held & ~position_mask_) == wanted && same(held & position_mask_))) return slot;
    }
  }

  std::vector<std::uint32_t> slots_;
  std::uint32_t position_mask_ = 0;
};

}  // namespace heft::core
