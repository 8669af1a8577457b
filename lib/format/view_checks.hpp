// format/view_checks.hpp: what sizes, strides and an offset must satisfy to be a view of a storage; the arithmetic is
// all checked.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "heft/dtype.hpp"
#include "heft/limits.hpp"

namespace heft::format {

/// Demands that `sizes` are a shape: no more than Limits::rank, none negative, the product of those that are not zero
/// within 63 bits. Throws Error{corrupt} or Error{limit_exceeded}.
void require_shape(std::span<const std::int64_t> sizes, const Limits& limits);

/// The same for the shape that the file declares at `offset` for the tensor of that name, which its errors carry.
void require_shape(std::span<const std::int64_t> sizes, const Limits& limits, std::string_view tensor,
                   std::uint64_t offset);

/// True when `strides` are exactly those of a packed row-major tensor (a zero dim counts as 1).
bool is_row_major(std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides) noexcept;

/// Demands that every element of the view lies in a storage of `storage_bytes`: strides not negative, first + sum((size
/// - 1) * stride) inside; a view without elements may begin at the end. Throws Error{corrupt}. Call require_shape()
/// first.
void require_view(DType dtype, std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides,
                  std::uint64_t first, std::uint64_t storage_bytes);

}  // namespace heft::format
