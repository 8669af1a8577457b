#include "heft/shape.hpp"

#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "core/contiguous.hpp"
#include "heft/error.hpp"

using heft::Shape;
using heft::Strides;

TEST_CASE("shape: copies and moves at ranks within and above the inline capacity") {
  for (const std::size_t rank : {std::size_t{0}, std::size_t{1}, std::size_t{6}, std::size_t{7}, std::size_t{32}}) {
    Shape shape(rank, 2);
    for (std::size_t dim = 0; dim < rank; ++dim) shape[dim] = static_cast<std::int64_t>(dim + 1);
    Shape copy = shape;
    CHECK(copy == shape);
    if (rank > 0) {
      copy[rank - 1] = 99;
      CHECK(!(copy == shape));
    }
    const Shape moved = std::move(copy);
    CHECK(moved.rank() == rank);
    copy = shape;  // a moved-from Shape can be assigned again
    CHECK(copy == shape);
  }
}

TEST_CASE("shape: counts elements") {
  CHECK(Shape{}.element_count() == 1);
  CHECK(Shape{2, 3, 4}.element_count() == 24);
  CHECK(Shape{2, 0, 4}.element_count() == 0);
  CHECK_THROWS_AS(static_cast<void>(Shape{-1}.element_count()), heft::Error);
  CHECK_THROWS_AS(static_cast<void>(Shape{INT64_MAX, INT64_MAX, INT64_MAX}.element_count()), heft::Error);
}

TEST_CASE("strides: packed row-major, a zero dim counts as one") {
  CHECK(Strides::contiguous({2, 3, 4}) == Strides{12, 4, 1});
  CHECK(Strides::contiguous({2, 0, 4}) == Strides{4, 4, 1});
  CHECK(Strides::contiguous({}).rank() == 0);
}

TEST_CASE("is_contiguous: strides of dims of 1 and of empty shapes do not matter") {
  using heft::core::is_contiguous;
  CHECK(is_contiguous(Shape{2, 3, 4}, Strides{12, 4, 1}));
  CHECK(!is_contiguous(Shape{2, 3, 4}, Strides{12, 1, 3}));
  CHECK(is_contiguous(Shape{2, 1, 4}, Strides{4, 99, 1}));
  CHECK(is_contiguous(Shape{0, 3}, Strides{9, 5}));
  CHECK(is_contiguous(Shape{3, 0}, Strides{9, 5}));
  CHECK(is_contiguous(Shape{}, Strides{}));
}

TEST_CASE("to_string: as PyTorch prints a shape") {
  CHECK(heft::to_string(Shape{4096, 11008}) == "[4096, 11008]");
  CHECK(heft::to_string(Shape{}) == "[]");
}

TEST_CASE("shape: copies may throw, moves may not, and moving leaves rank 0") {
  static_assert(!std::is_nothrow_copy_assignable_v<Shape> && !std::is_nothrow_copy_assignable_v<Strides>);
  static_assert(std::is_nothrow_move_assignable_v<Shape> && std::is_nothrow_move_assignable_v<Strides>);
  const Shape many(std::vector<std::int64_t>(12, 3));
  Shape shape{1, 2};
  shape = many;
  CHECK(shape == many);
  Shape& same = shape;
  shape = same;
  CHECK(shape == many);
  Shape moved;
  moved = std::move(shape);
  CHECK(moved == many);
  CHECK(shape.rank() == 0);
}
