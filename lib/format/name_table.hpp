// format/name_table.hpp: a set of names in order of insertion, with lookup in constant time for any names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/name_table.hpp"

namespace heft::format {

/// Names in the order of their first insertion. The table keeps views, not copies.
class NameTable {
  [[nodiscard]] auto name_of() const noexcept {
    return [this](std::uint32_t number) { return names_[number]; };
  }

 public:
  /// Reserves memory for `expected` names; more can be added.
  explicit NameTable(std::size_t expected = 0) : places_(expected) { names_.reserve(expected); }

  struct Place {
    std::uint32_t index;  ///< Number of distinct names added before this one.
    bool fresh;           ///< True if this call added the name.
  };
  /// Returns the place of `name`, and adds it if it is new. Holds up to 2^31 names.
  Place add(std::string_view name) {
    const std::uint32_t known = places_.add(name, name_of());
    if (known != places_.none) return {known, false};
    names_.push_back(name);
    return {static_cast<std::uint32_t>(names_.size() - 1), true};
  }

  [[nodiscard]] std::optional<std::uint32_t> find(std::string_view name) const noexcept {
    const std::uint32_t known = places_.find(name, name_of());
    return known == places_.none ? std::nullopt : std::optional(known);
  }

  [[nodiscard]] const std::vector<std::string_view>& names() const& noexcept { return names_; }
  [[nodiscard]] std::vector<std::string_view> take_names() && noexcept { return std::move(names_); }

 private:
  core::NameTable places_;
  std::vector<std::string_view> names_;
};

}  // namespace heft::format
