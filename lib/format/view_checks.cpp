#include "format/view_checks.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/checked.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t max_count = INT64_MAX;

[[noreturn]] void corrupt(std::string message) { throw Error(ErrorCode::corrupt, std::move(message)); }

}  // namespace

void require_shape(std::span<const std::int64_t> sizes, const Limits& limits) {
  core::require_limit(sizes.size(), limits.rank, "rank of the tensor", "rank");
  std::uint64_t product = 1;
  for (const std::int64_t size : sizes) {
    if (size < 0) corrupt(fmt::format("expected sizes of 0 or more, found {}", size));
    if (size == 0) continue;  // zero dims do not hide an overflow of the others
    // An overflow becomes a value over the bound.
    product = core::checked_mul(product, static_cast<std::uint64_t>(size)).value_or(max_count + 1);
    if (product > max_count) corrupt("the number of elements does not fit 63 bits");
  }
}

void require_shape(std::span<const std::int64_t> sizes, const Limits& limits, std::string_view tensor,
                   std::uint64_t offset) {
  try {
    require_shape(sizes, limits);
  } catch (const Error& error) {
    // The inner check has no name and place to report; they are added here, so that other callers pay for no strings.
    throw Error(error.code(), error.message(), {.tensor = std::string(tensor), .offset = offset});
  }
}

std::int64_t dim_of(std::uint64_t number, std::uint64_t offset) {
  if (number > max_count)
    throw Error(ErrorCode::corrupt, fmt::format("dim {} does not fit 63 bits", number), {.offset = offset});
  return static_cast<std::int64_t>(number);
}

bool is_row_major(std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides) noexcept {
  std::int64_t expected = 1;
  for (std::size_t dim = sizes.size(); dim-- > 0;) {
    if (strides[dim] != expected) return false;
    // Strides of a tensor without elements are those of a tensor with size 1 there, as PyTorch computes them.
    expected *= std::max<std::int64_t>(sizes[dim], 1);  // within 63 bits by require_shape()
  }
  return true;
}

void require_view(DType dtype, std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides,
                  std::uint64_t first, std::uint64_t storage_bytes) {
  if (sizes.size() != strides.size()) corrupt(fmt::format("{} sizes and {} strides", sizes.size(), strides.size()));
  const DTypeInfo& row = info(dtype);
  // Whole elements in the storage; a rest of less than a block holds none.
  const std::uint64_t room =
      core::mul_or_throw(storage_bytes / row.block_bytes, row.block_elements, "elements of a storage");
  // The offset of the last element: strides are not negative, so it is the largest.
  std::uint64_t extent = first;
  bool empty = false;
  for (std::size_t dim = 0; dim < sizes.size(); ++dim) {
    if (strides[dim] < 0) corrupt(fmt::format("expected strides of 0 or more, found {}", strides[dim]));
    if (sizes[dim] == 0) {
      // The other dims are still checked: a view without elements must not declare strides that overflow later.
      empty = true;
      continue;
    }
    const auto steps =
        core::checked_mul(static_cast<std::uint64_t>(sizes[dim] - 1), static_cast<std::uint64_t>(strides[dim]));
    const auto sum = steps ? core::checked_add(extent, *steps) : std::nullopt;
    if (!sum || *sum > max_count) corrupt("the last element of the view does not fit 63 bits");
    extent = *sum;
  }
  // `extent` is an element and must lie inside; the start of an empty view can be the end of the storage.
  if (empty ? first > room : extent >= room)
    corrupt(fmt::format("expected a storage of at least {} elements of {}, it has {} ({} bytes)",
                        empty ? first : extent + 1, row.name, room, storage_bytes));
}

}  // namespace heft::format
