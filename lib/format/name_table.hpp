// format/name_table.hpp: finds out which names were met before, in linear time whatever the names are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace heft::format {

/// Names in the order in which they were first met. Names come from files, so somebody may have chosen them to collide: the hash is keyed
/// with a random number, which changes nothing but the order of probing.
class NameTable {
 public:
  /// `expected` names fit without growing; a guess is good enough.
  explicit NameTable(std::size_t expected = 0);

  struct Place {
    std::uint32_t index;  ///< The name's number: how many other names were met before it.
    bool fresh;           ///< It was not there.
  };
  /// Looks `name` up and adds it if it is not there. The table keeps the view, not a copy. Holds up to 2^31 names.
  Place add(std::string_view name);

  [[nodiscard]] std::optional<std::uint32_t> find(std::string_view name) const noexcept;

  [[nodiscard]] const std::vector<std::string_view>& names() const& noexcept { return names_; }
  [[nodiscard]] std::vector<std::string_view> take_names() && noexcept { return std::move(names_); }

 private:
  // A slot holds a name's number + 1 and, in the bits above `number_mask_`, bits of its hash: probes seldom look at other names. 0: empty.
  using Slot = std::uint32_t;

  [[nodiscard]] std::uint64_t hash(std::string_view name) const noexcept;
  [[nodiscard]] Slot tag(std::uint64_t code) const noexcept { return static_cast<Slot>(code >> 32) & ~number_mask_; }
  // The slot that holds the name, or the empty one where it belongs.
  [[nodiscard]] std::size_t slot(std::string_view name, std::uint64_t code) const noexcept;
  void widen(std::size_t slots);

  std::uint64_t key_;
  std::vector<Slot> slots_;  // a power of two, at most half full
  std::uint32_t number_mask_ = 0;
  std::vector<std::string_view> names_;
};

}  // namespace heft::format
