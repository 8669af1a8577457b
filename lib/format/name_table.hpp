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
  /// Looks `name` up and adds it if it is not there. The table keeps the view, not a copy. Holds up to 2^32 - 2 names.
  Place add(std::string_view name);

  [[nodiscard]] std::optional<std::uint32_t> find(std::string_view name) const noexcept;

  [[nodiscard]] const std::vector<std::string_view>& names() const& noexcept { return names_; }
  [[nodiscard]] std::vector<std::string_view> take_names() && noexcept { return std::move(names_); }

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t number = 0;  // index + 1; 0: empty
  };
  [[nodiscard]] std::uint32_t hash(std::string_view name) const noexcept;
  // The slot that holds the name, or the empty one where it belongs.
  [[nodiscard]] std::size_t slot(std::string_view name, std::uint32_t code) const noexcept;
  void grow();

  std::uint64_t key_;
  std::vector<Slot> slots_;  // a power of two, at most half full
  std::vector<std::string_view> names_;
};

}  // namespace heft::format
