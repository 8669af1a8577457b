// kernels/non_finite.hpp: counts NaN and infinities, with SIMD chosen at run time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "heft/dtype.hpp"

namespace heft::kernels {

/// Numbers of elements that are not finite. A complex element counts once: as NaN if one of its parts is.
struct NonFinite {
  std::uint64_t nan = 0;
  std::uint64_t inf = 0;
};

/// Returns true for the types that count_non_finite() supports: f16, bf16, f32, f64, c64 and c128.
[[nodiscard]] bool has_non_finite_kernel(DType dtype) noexcept;
/// Counts in `count` elements of `dtype` (has_non_finite_kernel), by their bits. Requires no alignment.
[[nodiscard]] NonFinite count_non_finite(DType dtype, const std::byte* elements, std::size_t count) noexcept;

}  // namespace heft::kernels
