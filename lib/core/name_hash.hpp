// core/name_hash.hpp: the hash of every table of names. It is keyed, because the author of a file can choose names that
// collide under a known hash.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace heft::core {

/// A hash under a secret key of this process.
class NameHash {
 public:
  /// Uses the key of the process, which is drawn from the system's random source on first use. All tables share the
  /// key: drawing one costs microseconds (cpuid traps in virtual machines), and a checkpoint of many shards has many
  /// tables.
  NameHash();
  /// Returns the hash of (salt, text).
  [[nodiscard]] std::uint64_t operator()(std::string_view text, std::uint64_t salt = 0) const noexcept;

 private:
  std::array<std::uint64_t, 2> key_;
};

}  // namespace heft::core
