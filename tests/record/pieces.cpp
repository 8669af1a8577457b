#include "record/pieces.hpp"

#include <doctest/doctest.h>

#include "record/support.hpp"
#include "support/thrown.hpp"

using namespace heft;
using test::count_of_pieces;
using test::counting;
using test::thrown_by;
using test::values_of;

namespace {

// `whole` cut into `parts` along `dim`, and put together again.
TensorView cut(const TensorView& whole, std::size_t dim, int parts) {
  std::vector<Piece> pieces;
  for (int part = 0; part < parts; ++part) {
    Piece piece{whole.shard(dim, part, parts), Dims(whole.rank(), 0)};
    piece.at[dim] = part * piece.part.shape()[dim];
    pieces.push_back(std::move(piece));
  }
  return TensorView::over_pieces("whole", whole.shape(), std::move(pieces));
}

}  // namespace

TEST_CASE("pieces: a tensor in parts reads as the whole, along every dim") {
  const TensorView whole = counting({4, 6, 2});
  for (const auto& [dim, parts] : {std::pair<std::size_t, int>{0, 2}, {0, 4}, {1, 3}, {2, 2}}) {
    const TensorView pieced = cut(whole, dim, parts);
    CHECK(pieced.name() == "whole");
    CHECK(pieced.pieces().size() == static_cast<std::size_t>(parts));
    CHECK(pieced.size_bytes() == whole.size_bytes());
    CHECK(values_of(pieced) == values_of(whole));
    CHECK(values_of(pieced.transpose(0, 2)) == values_of(whole.transpose(0, 2)));
    CHECK(values_of(pieced.slice(1, 1, 5)) == values_of(whole.slice(1, 1, 5)));
  }
}

TEST_CASE("pieces: slices and shards keep only the parts that they touch") {
  const TensorView pieced = cut(counting({8, 4}), 0, 4);
  CHECK(count_of_pieces(pieced.slice(0, 1, 3)) == 2);
  CHECK(count_of_pieces(pieced.slice(1, 0, 2)) == 4);
  CHECK(count_of_pieces(pieced.slice(0, 3, 3)) == 0);
  CHECK(pieced.slice(0, 3, 3).bytes().empty());
}

TEST_CASE("pieces: a slice that one part holds is that part, contiguous and typed") {
  const TensorView pieced = cut(counting({8, 4}), 0, 4);
  const TensorView part = pieced.shard(0, 1, 4);
  CHECK(part.pieces().empty());
  CHECK(part.name() == "whole");
  CHECK(part.as<float>()[0] == 8);
  CHECK(values_of(part.slice(1, 1, 2)) == std::vector<float>{9, 13});
}

TEST_CASE("pieces: operations that need one run of memory are refused") {
  const TensorView pieced = cut(counting({8, 4}), 0, 2);
  CHECK(!pieced.is_contiguous());
  CHECK(thrown_by([&] { static_cast<void>(pieced.bytes()); }).code() == ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { static_cast<void>(pieced.as<float>()); }).code() == ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { static_cast<void>(pieced.reshape({32})); }).code() == ErrorCode::type_mismatch);
  CHECK(count_of_pieces(pieced.reshape({8, 4})) == 2);
}

TEST_CASE("pieces: parts that themselves are in pieces are taken apart") {
  const TensorView whole = counting({4, 4});
  const TensorView top = cut(whole.slice(0, 0, 2), 1, 2);
  const TensorView both = TensorView::over_pieces("x", {4, 4}, {{top, {0, 0}}, {whole.slice(0, 2, 4), {2, 0}}});
  CHECK(both.pieces().size() == 3);
  CHECK(values_of(both) == values_of(whole));
}

TEST_CASE("pieces: overlaps, holes and parts that do not fit are out of range") {
  const TensorView two = counting({2, 2});
  const auto code_of = [&](Shape shape, std::vector<Piece> pieces) {
    return thrown_by([&] { static_cast<void>(TensorView::over_pieces("x", shape, pieces)); }).code();
  };
  CHECK(code_of({4, 2}, {{two, {0, 0}}, {two, {1, 0}}}) == ErrorCode::out_of_range);
  CHECK(code_of({4, 2}, {{two, {0, 0}}}) == ErrorCode::out_of_range);
  CHECK(code_of({4, 2}, {{two, {0, 0}}, {two, {3, 0}}}) == ErrorCode::out_of_range);
  CHECK(code_of({4, 2}, {{two, {0, 0}}, {two, {2}}}) == ErrorCode::out_of_range);
  CHECK(code_of({4, 2}, {{two, {0, 0}}, {two, {-2, 0}}}) == ErrorCode::out_of_range);
  CHECK(code_of({4, 2}, {{two, {0, 0}}, {two, {INT64_MAX, 0}}}) == ErrorCode::out_of_range);
  CHECK(code_of({4, 2}, {{two, {0, 0}}, {two, {0, 0}}}) == ErrorCode::out_of_range);
  CHECK(code_of({2, 2}, {}) == ErrorCode::out_of_range);
  const TensorView other = TensorView::over("y", DType::i32, {2, 2}, two.bytes());
  CHECK(code_of({4, 2}, {{two, {0, 0}}, {other, {2, 0}}}) == ErrorCode::type_mismatch);
}

TEST_CASE("pieces: their views, and the names of these, outlive the parts") {
  TensorView kept;
  TensorView turned;
  {
    const TensorView pieced = cut(counting({8, 4}), 0, 2);
    kept = pieced.shard(0, 1, 2);
    turned = pieced.transpose(0, 1).slice(0, 1, 2);
  }
  CHECK(kept.name() == "whole");
  CHECK(turned.name() == "whole");
  CHECK(values_of(turned) == std::vector<float>{1, 5, 9, 13, 17, 21, 25, 29});
}

TEST_CASE("pieces: two wholes of the same parts share their storage") {
  const TensorView whole = counting({8, 4});
  CHECK(cut(whole, 0, 2).shares_storage_with(cut(whole, 0, 2)));
  CHECK(!cut(whole, 0, 2).shares_storage_with(whole));
  CHECK(!cut(whole, 0, 2).shares_storage_with(cut(counting({8, 4}), 0, 2)));
}
