// core/name_hash.hpp: the hash of every table of names. Names come from files, so somebody may have chosen them to collide.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace heft::core {

/// A keyed hash: which names collide cannot be known outside this process.
class NameHash {
 public:
  /// The process's key, drawn from the system's random source when it is first asked for. One key for all tables, because a
  /// draw costs microseconds (cpuid traps in virtual machines) and a checkpoint of many shards has many tables.
  NameHash();
  /// `salt` makes one key many: the hash of (salt, text).
  [[nodiscard]] std::uint64_t operator()(std::string_view text, std::uint64_t salt = 0) const noexcept;

 private:
  std::array<std::uint64_t, 2> key_;
};

}  // namespace heft::core
