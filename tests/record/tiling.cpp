#include "record/tiling.hpp"

#include <algorithm>
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "record/support.hpp"

using namespace heft;

namespace {

/// Cuts the box at random, until no part has more than `most` elements.
void cut(std::vector<Piece>& into, const TensorView& view, const Dims& at, std::uint64_t most, std::mt19937& random) {
  if (view.element_count() <= most) return into.push_back({view, at});
  std::size_t dim = random() % view.rank();
  while (view.shape()[dim] == 1) dim = (dim + 1) % view.rank();
  const std::int64_t middle =
      1 + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(view.shape()[dim] - 1));
  Dims after = at;
  after[dim] += middle;
  cut(into, view.slice(dim, 0, middle), at, most, random);
  cut(into, view.slice(dim, middle, view.shape()[dim]), after, most, random);
}

/// How often each element is covered, one by one.
bool covers_once(const Shape& shape, const std::vector<Piece>& pieces) {
  std::vector<int> covered(shape.element_count());
  for (const Piece& piece : pieces) {
    const Shape& part = piece.part.shape();
    for (std::int64_t i = 0; i < part[0]; ++i)
      for (std::int64_t j = 0; j < part[1]; ++j)
        for (std::int64_t k = 0; k < part[2]; ++k)
          ++covered[static_cast<std::size_t>(((piece.at[0] + i) * shape[1] + piece.at[1] + j) * shape[2] + piece.at[2] +
                                             k)];
  }
  return std::all_of(covered.begin(), covered.end(), [](int times) { return times == 1; });
}

}  // namespace

TEST_CASE("tiling: boxes fill a box exactly when each element is covered once") {
  std::mt19937 random(7);
  const Shape shape{4, 5, 3};
  const TensorView whole = test::counting(shape);
  std::size_t broken = 0;
  for (int round = 0; round < 400; ++round) {
    std::vector<Piece> pieces;
    cut(pieces, whole, Dims(3, 0), 1 + random() % 20, random);
    if (round % 4 != 0) {
      // One part is taken away, doubled, moved or made smaller; now and then the result is a tiling again.
      const std::size_t at = random() % pieces.size();
      const std::size_t dim = random() % 3;
      Piece& piece = pieces[at];
      switch (round % 4) {
        case 1: pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(at)); break;
        case 2: pieces.push_back(pieces[at]); break;
        default:
          piece.at[dim] = static_cast<std::int64_t>(
              random() % static_cast<std::uint64_t>(shape[dim] - piece.part.shape()[dim] + 1));
      }
    }
    CHECK(record::tile_exactly(shape, pieces) == covers_once(shape, pieces));
    broken += !covers_once(shape, pieces);
  }
  CHECK(broken > 200);
}

TEST_CASE("tiling: a scalar is one part, an empty tensor has none") {
  CHECK(record::tile_exactly(Shape{}, std::vector<Piece>{{test::counting(Shape{}), Dims()}}));
  CHECK_FALSE(record::tile_exactly(Shape{}, {}));
  CHECK(record::tile_exactly(Shape{0, 4}, {}));
  CHECK_FALSE(record::tile_exactly(Shape{1}, {}));
}
