// core/limit_name.hpp: the names of the members of heft::Limits, so that an Error names a limit that a caller can
// raise.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

#include "heft/limits.hpp"

namespace heft::core {

/// In the order of declaration.
inline constexpr std::array limit_names = std::to_array<std::string_view>({
    "tensors",
    "rank",
    "name_bytes",
    "shards",
    "safetensors_header_bytes",
    "json_bytes",
    "json_depth",
    "zip_entries",
    "zip_directory_bytes",
    "zip_name_bytes",
    "inflated_bytes",
    "inflate_ratio",
    "pickle_bytes",
    "pickle_operations",
    "pickle_stack",
    "pickle_memo",
    "record_depth",
    "record_visits",
    "metadata_items",
    "metadata_bytes",
    "metadata_depth",
    "burnpack_metadata_bytes",
    "npy_header_bytes",
    "metadata_memory_bytes",
    "repeated_bytes",
});
static_assert(sizeof(Limits) == limit_names.size() * sizeof(std::uint64_t),
              "a member of Limits has no row in limit_names");

/// The name of a member of Limits. The constructor is consteval: a name that Limits lacks does not compile.
class LimitName {
 public:
  consteval LimitName(const char* name) : name_(name) {  // NOLINT: a literal is a name
    if (std::ranges::find(limit_names, name_) == limit_names.end()) throw "Limits has no member of this name";
  }
  [[nodiscard]] constexpr std::string_view text() const noexcept { return name_; }

 private:
  std::string_view name_;
};

}  // namespace heft::core
