// tests/materialize/mixed_tensors.hpp: tensors of many sizes for tests of where loads place them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "support/safetensors_builder.hpp"

namespace heft::test {

/// Adds "large.0" to "large.2" of 4 MiB each, `small` tensors "small.0" ... of 814 bytes, and "none" of 0 bytes.
inline void add_mixed_tensors(SafetensorsBuilder& file, int small) {
  for (int i = 0; i < 3; ++i)
    file.add("large." + std::to_string(i), "BF16", {1024, 2048},
             pattern(std::size_t{4} << 20, static_cast<std::uint32_t>(i + 1)));
  for (int i = 0; i < small; ++i)
    file.add("small." + std::to_string(i), "F16", {11, 37}, pattern(11 * 37 * 2, static_cast<std::uint32_t>(i)));
  file.add("none", "F32", {0, 3}, "");
}

}  // namespace heft::test
