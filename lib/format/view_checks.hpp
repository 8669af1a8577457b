// format/view_checks.hpp: checks that sizes, strides and an offset describe a view inside its storage. All arithmetic
// is checked for overflow.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/checked.hpp"
#include "heft/dtype.hpp"
#include "heft/limits.hpp"

namespace heft::format {

/// Requires that `sizes` are a shape: at most Limits::rank of them, none negative, the product of the nonzero ones
/// within 63 bits. Throws Error{corrupt} or Error{limit_exceeded}.
void require_shape(std::span<const std::int64_t> sizes, const Limits& limits);

/// The same for the shape that the file declares at `offset` for the named tensor; both are added to its errors.
void require_shape(std::span<const std::int64_t> sizes, const Limits& limits, std::string_view tensor,
                   std::uint64_t offset);

/// Returns the dim that a file declares as `number` at `offset`. Throws Error{corrupt} if it does not fit 63 bits.
std::int64_t dim_of(std::uint64_t number, std::uint64_t offset);

/// Returns the `rank` dims of a list at `offset`: next() reads an item with a number and an offset. Throws as
/// require_shape() for the named tensor.
template <class Next>
std::vector<std::int64_t> read_dims(std::uint64_t rank, std::uint64_t offset, std::string_view tensor,
                                    const Limits& limits, const Next& next) {
  core::require_limit(rank, limits.rank, "the number of dims", "rank", offset);
  std::vector<std::int64_t> dims;
  for (std::uint64_t i = 0; i < rank; ++i) {
    const auto item = next();
    dims.push_back(dim_of(item.number, item.offset));
  }
  require_shape(dims, limits, tensor, offset);
  return dims;
}

/// Returns true if `strides` are exactly those of a packed row-major tensor (a zero dim counts as 1).
bool is_row_major(std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides) noexcept;

/// Requires that every element of the view lies in a storage of `storage_bytes`: no stride is negative and
/// first + sum((size - 1) * stride) is inside; a view without elements can start at the end. Throws Error{corrupt}.
/// Call require_shape() first.
void require_view(DType dtype, std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides,
                  std::uint64_t first, std::uint64_t storage_bytes);

}  // namespace heft::format
