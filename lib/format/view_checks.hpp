// format/view_checks.hpp: checks that sizes, strides and an offset describe a view inside its storage. All arithmetic
// is checked for overflow.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "heft/dtype.hpp"
#include "heft/limits.hpp"

namespace heft::format {

/// Requires that `sizes` are a shape: at most Limits::rank of them, none negative, the product of the nonzero ones
/// within 63 bits. Throws Error{corrupt} or Error{limit_exceeded}.
void require_shape(std::span<const std::int64_t> sizes, const Limits& limits);

/// The same for the shape that the file declares at `offset` for the named tensor; both are added to its errors.
void require_shape(std::span<const std::int64_t> sizes, const Limits& limits, std::string_view tensor,
                   std::uint64_t offset);

/// Returns true if `strides` are exactly those of a packed row-major tensor (a zero dim counts as 1).
bool is_row_major(std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides) noexcept;

/// Requires that every element of the view lies in a storage of `storage_bytes`: no stride is negative and
/// first + sum((size - 1) * stride) is inside; a view without elements can start at the end. Throws Error{corrupt}.
/// Call require_shape() first.
void require_view(DType dtype, std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides,
                  std::uint64_t first, std::uint64_t storage_bytes);

}  // namespace heft::format
