// kernels/dequant_tables.hpp: the code books of ggml's IQ types. See dequant_tables.cpp for where they come from and their licence.
#pragma once

#include <array>
#include <cstdint>

namespace heft::engine {

// A vector is one number; its element j is byte j, the least significant first. Magnitudes, but for iq1s_grid: -1, 0 and 1 as i8.
extern const std::array<std::uint64_t, 256> iq2xxs_grid;
extern const std::array<std::uint64_t, 512> iq2xs_grid;
extern const std::array<std::uint64_t, 1024> iq2s_grid;
extern const std::array<std::uint32_t, 256> iq3xxs_grid;
extern const std::array<std::uint32_t, 512> iq3s_grid;
extern const std::array<std::uint64_t, 2048> iq1s_grid;

}  // namespace heft::engine
