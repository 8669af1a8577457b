// record/tiling.cpp: a box is determined by its corners, each with a sign: plus if an even number of its coordinates
// are upper bounds, minus if an odd number are. Boxes cover a box exactly if and only if their corners cancel out to
// those of that box: the signs are the mixed derivative of the function that counts, for each point, the boxes over it,
// and a function that is zero far away is determined by its derivative. So the check sums corners, and neither visits
// points nor compares boxes in pairs.
#include "record/tiling.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/checked.hpp"

namespace heft::record {
namespace {

/// The corners of boxes, in the dims along which any of them is cut; other dims are the same for all.
class Corners {
 public:
  explicit Corners(std::vector<std::size_t> dims) : dims_(std::move(dims)) {}

  void add(std::span<const std::int64_t> at, std::span<const std::int64_t> sizes, std::int64_t sign) {
    // Bit i of `corner` selects the upper bound in the i-th cut dim.
    for (std::uint64_t corner = 0; corner < std::uint64_t{1} << dims_.size(); ++corner) {
      std::int64_t signed_one = sign;
      for (std::size_t i = 0; i < dims_.size(); ++i) {
        const bool upper = (corner >> i & 1) != 0;
        numbers_.push_back(at[dims_[i]] + (upper ? sizes[dims_[i]] : 0));
        if (upper) signed_one = -signed_one;
      }
      signs_.push_back(signed_one);
    }
  }

  [[nodiscard]] bool cancel() const {
    // Sorted by number of the corner: the coordinates themselves are not moved.
    std::vector<std::uint32_t> order(signs_.size());
    for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [this](std::uint32_t a, std::uint32_t b) {
      return std::ranges::lexicographical_compare(point(a), point(b));
    });
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (i > 0 && !std::ranges::equal(point(order[i - 1]), point(order[i]))) {
        // The corners of one point are neighbours now, and their signs must cancel out. The sum is 0 at the start of
        // each point.
        if (sum != 0) return false;
      }
      sum += signs_[order[i]];
    }
    return sum == 0;
  }

 private:
  [[nodiscard]] std::span<const std::int64_t> point(std::uint32_t corner) const noexcept {
    return std::span(numbers_).subspan(corner * dims_.size(), dims_.size());
  }

  std::vector<std::size_t> dims_;
  std::vector<std::int64_t> numbers_;  // of each corner, one for each dim
  std::vector<std::int64_t> signs_;
};

// Returns the dims in which a piece differs from the whole. In all others every corner has the same coordinates.
std::vector<std::size_t> cut_dims(const Shape& shape, std::span<const Piece> pieces) {
  std::vector<std::size_t> dims;
  for (std::size_t dim = 0; dim < shape.rank(); ++dim)
    if (std::ranges::any_of(
            pieces, [&](const Piece& piece) { return piece.at[dim] != 0 || piece.part.shape()[dim] != shape[dim]; }))
      dims.push_back(dim);
  return dims;
}

}  // namespace

bool tile_exactly(const Shape& shape, std::span<const Piece> pieces) {
  if (shape.element_count() == 0) return pieces.empty();
  std::vector<std::size_t> dims = cut_dims(shape, pieces);
  // Each cut dim doubles the corners. Real tensors are cut along few dims.
  constexpr std::uint64_t max_corners = 1u << 28;
  core::require_format_bound(dims.size(), 16, "the number of dims along which a tensor is cut");
  core::require_format_bound((pieces.size() + 1) << dims.size(), max_corners, "the number of corners of all parts");
  Corners corners(std::move(dims));
  const Dims origin(shape.rank(), 0);
  // The whole has the opposite signs, so that a tiling leaves no corner.
  corners.add(origin, shape, -1);
  for (const Piece& piece : pieces) corners.add(piece.at, piece.part.shape(), 1);
  return corners.cancel();
}

}  // namespace heft::record
