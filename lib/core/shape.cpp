#include "heft/shape.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/checked.hpp"
#include "heft/error.hpp"

namespace heft {

Dims::Dims(std::span<const std::int64_t> dims) : Dims(dims.size(), 0) { std::copy(dims.begin(), dims.end(), data()); }

Dims::Dims(std::size_t rank, std::int64_t value) : rank_(static_cast<std::uint32_t>(rank)) {
  if (rank > inline_rank) heap_ = std::make_unique<std::int64_t[]>(rank);
  std::fill_n(data(), rank, value);
}

Dims::Dims(const Dims& other) : rank_(other.rank_), inline_(other.inline_) {
  // A rank up to inline_rank lies in inline_, which the initializers have copied.
  if (!other.heap_) return;
  heap_ = std::make_unique<std::int64_t[]>(rank_);
  std::copy(other.begin(), other.end(), heap_.get());
}

Dims::Dims(Dims&& other) noexcept : rank_(other.rank_), inline_(other.inline_), heap_(std::move(other.heap_)) {
  // Without its heap, the other one must not claim dims beyond inline_.
  other.rank_ = 0;
}

// Not one operator that takes a value: the copy for its parameter allocates, but the assignments of Shape and Strides
// would be implicitly noexcept, and the caller would release nothing when the copy throws.
Dims& Dims::operator=(const Dims& other) { return *this = Dims(other); }

Dims& Dims::operator=(Dims&& other) noexcept {
  // As the constructor: the rank of `other` goes with its heap.
  rank_ = std::exchange(other.rank_, 0);
  inline_ = other.inline_;
  heap_ = std::move(other.heap_);
  return *this;
}

bool operator==(const Dims& a, const Dims& b) noexcept { return std::ranges::equal(a.span(), b.span()); }

std::uint64_t Shape::element_count() const {
  // Overflow is tested on the product of the non-zero dims, so that the order of dims does not decide: [0, 2^63, 4] and
  // [2^63, 4, 0] are both refused.
  std::uint64_t product = 1;
  bool empty = false;
  for (const std::int64_t dim : *this) {
    if (dim < 0)
      throw Error(ErrorCode::corrupt, fmt::format("expected dims of at least 0, shape is {}", to_string(*this)));
    if (dim == 0)
      empty = true;
    else
      product = core::mul_or_throw(product, static_cast<std::uint64_t>(dim), "the number of elements");
  }
  if (product > INT64_MAX)
    throw Error(ErrorCode::corrupt,
                fmt::format("the number of elements of shape {} does not fit 63 bits", to_string(*this)));
  return empty ? 0 : product;
}

Strides Strides::contiguous(const Shape& shape) {
  // Called for its checks: the product of the non-zero dims fits 63 bits, and so does each stride below.
  static_cast<void>(shape.element_count());
  Strides strides(shape.rank(), 1);
  for (std::size_t dim = shape.rank(); dim-- > 1;)
    // A dim of 0 counts as 1: a tensor without elements has positive strides too, though no element uses them.
    strides[dim - 1] = strides[dim] * std::max<std::int64_t>(shape[dim], 1);
  return strides;
}

std::string to_string(const Dims& dims) { return fmt::format("[{}]", fmt::join(dims.begin(), dims.end(), ", ")); }

}  // namespace heft
