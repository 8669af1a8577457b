// core/name_table.hpp: names to positions, for tables that grow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/name_hash.hpp"
#include "core/name_index.hpp"

namespace heft::core {

/// Positions 0, 1, 2, ... by name. The caller stores the names: every call takes `name_of(position)`.
class NameTable {
 public:
  static constexpr std::uint32_t none = NameIndex::none;

  /// `expected` names fit without growing; it can be an estimate.
  explicit NameTable(std::size_t expected = 0) : index_(expected), room_(expected) {}

  /// Inserts the next position and returns `none`; or inserts nothing and returns the position that has this name.
  template <class NameOf>
  std::uint32_t add(std::string_view name, const NameOf& name_of) {
    if (count_ == room_) grow(name_of);
    const auto same = [&](std::uint32_t position) { return name_of(position) == name; };
    const std::uint32_t found = index_.insert(hash_(name), static_cast<std::uint32_t>(count_), same);
    if (found == none) ++count_;
    return found;
  }

  template <class NameOf>
  [[nodiscard]] std::uint32_t find(std::string_view name, const NameOf& name_of) const noexcept {
    return index_.find(hash_(name), [&](std::uint32_t position) { return name_of(position) == name; });
  }

  [[nodiscard]] std::size_t size_bytes() const noexcept { return index_.size_bytes(); }

 private:
  template <class NameOf>
  void grow(const NameOf& name_of) {
    room_ = room_ == 0 ? 16 : 2 * room_;
    index_ = NameIndex(room_);
    for (std::uint32_t position = 0; position < count_; ++position)
      index_.insert(hash_(name_of(position)), position, [](std::uint32_t) { return false; });
  }

  NameHash hash_;
  NameIndex index_;
  std::size_t count_ = 0;
  std::size_t room_ = 0;
};

}  // namespace heft::core
