// support/same_bytes.hpp: compares bytes in one call, which sanitizers check as one access.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>

namespace heft::test {

/// Returns true if both have the same bytes.
inline bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) noexcept {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace heft::test
