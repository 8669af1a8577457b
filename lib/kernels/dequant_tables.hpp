// kernels/dequant_tables.hpp: the code books of ggml's IQ types. dequant_tables.cpp states their source and licence.
#pragma once

#include <array>
#include <cstdint>

namespace heft::kernels {

// A vector is one number; its element j is byte j, the least significant first. Elements are magnitudes; those of
// iq1s_grid are -1, 0 and 1 as i8.
extern const std::array<std::uint64_t, 256> iq2xxs_grid;
extern const std::array<std::uint64_t, 512> iq2xs_grid;
extern const std::array<std::uint64_t, 1024> iq2s_grid;
extern const std::array<std::uint32_t, 256> iq3xxs_grid;
extern const std::array<std::uint32_t, 512> iq3s_grid;
extern const std::array<std::uint64_t, 2048> iq1s_grid;

}  // namespace heft::kernels
