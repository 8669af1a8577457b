// Views of several tensors as one: the values, the layouts that compose, and the lists that are refused.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "heft/tensor_view.hpp"
#include "record/support.hpp"
#include "support/thrown.hpp"

using namespace heft;
using test::counting;
using test::values_of;

namespace {

ErrorCode code_of_concat(const std::vector<TensorView>& views, std::size_t dim) {
  return test::thrown_by([&] { return concat("all", views, dim); }).code();
}

ErrorCode code_of_stack(const std::vector<TensorView>& views, std::size_t dim) {
  return test::thrown_by([&] { return stack("all", views, dim); }).code();
}

}  // namespace

TEST_CASE("concat: views follow one another along each dim") {
  const std::vector<TensorView> views = {counting({2, 3}), counting({2, 3}, 10)};
  const TensorView rows = concat("rows", views, 0);
  CHECK(rows.name() == "rows");
  CHECK(rows.shape() == Shape{4, 3});
  CHECK(values_of(rows) == std::vector<float>{0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15});
  const TensorView columns = concat("columns", views, 1);
  CHECK(columns.shape() == Shape{2, 6});
  CHECK(values_of(columns) == std::vector<float>{0, 1, 2, 10, 11, 12, 3, 4, 5, 13, 14, 15});
  CHECK(rows.pieces()[1].part.shares_storage_with(views[1]));
}

TEST_CASE("stack: views lie side by side in a new dim, first, between and last") {
  const std::vector<TensorView> views = {counting({2, 3}), counting({3, 2}, 10).transpose(0, 1)};
  CHECK(stack("w", views, 0).shape() == Shape{2, 2, 3});
  CHECK(values_of(stack("w", views, 0)) == std::vector<float>{0, 1, 2, 3, 4, 5, 10, 12, 14, 11, 13, 15});
  CHECK(stack("w", views, 1).shape() == Shape{2, 2, 3});
  CHECK(values_of(stack("w", views, 1)) == std::vector<float>{0, 1, 2, 10, 12, 14, 3, 4, 5, 11, 13, 15});
  CHECK(stack("w", views, 2).shape() == Shape{2, 3, 2});
  CHECK(values_of(stack("w", views, 2)) == std::vector<float>{0, 10, 1, 12, 2, 14, 3, 11, 4, 13, 5, 15});
  const std::vector<TensorView> scalars = {counting({}), counting({}, 7)};
  CHECK(values_of(stack("w", scalars, 0)) == std::vector<float>{0, 7});
}

TEST_CASE("concat, stack: the results are views that compose") {
  const std::vector<TensorView> views = {counting({4, 2}), counting({4, 2}, 10)};
  const TensorView rows = concat("rows", views, 0);
  CHECK(rows.shard(0, 1, 4).shares_storage_with(views[0]));
  CHECK(values_of(rows.shard(0, 1, 4)) == std::vector<float>{4, 5, 6, 7});
  CHECK(values_of(rows.slice(0, 3, 5).transpose(0, 1)) == std::vector<float>{6, 10, 7, 11});
  const std::vector<TensorView> nested = {rows, concat("more", views, 0)};
  CHECK(test::count_of_pieces(stack("experts", nested, 1)) == 4);
  CHECK(values_of(stack("experts", nested, 1).slice(0, 4, 5)) == std::vector<float>{10, 11, 10, 11});
  const std::vector<TensorView> one = {views[0]};
  CHECK(concat("alone", one, 0).bytes().size_bytes() == 32);
  CHECK(stack("alone", one, 2).is_contiguous());
  CHECK(stack("alone", one, 2).reshape({8}).as<float>()[5] == 5);
  const std::vector<TensorView> empty = {counting({0, 2}), counting({4, 2}), counting({0, 2})};
  CHECK(values_of(concat("with empty ones", empty, 0)) == values_of(views[0]));
}

TEST_CASE("concat, stack: the dtype requested for loading is kept, and must be the same for all") {
  const std::vector<TensorView> cast = {counting({2}).cast_on_load(DType::bf16),
                                        counting({2}).cast_on_load(DType::bf16)};
  CHECK(concat("cast", cast, 0).wanted_dtype() == DType::bf16);
  CHECK(stack("cast", cast, 0).dtype() == DType::f32);
  CHECK(code_of_concat({cast[0], counting({2})}, 0) == ErrorCode::type_mismatch);
}

TEST_CASE("concat, stack: lists that make no tensor are refused") {
  const TensorView bytes = TensorView::over("b", DType::u8, {2}, Bytes::copy_of(std::vector<std::byte>(2)));
  CHECK(code_of_concat({}, 0) == ErrorCode::out_of_range);
  CHECK(code_of_stack({}, 0) == ErrorCode::out_of_range);
  CHECK(code_of_concat({counting({2})}, 1) == ErrorCode::out_of_range);
  CHECK(code_of_stack({counting({2})}, 2) == ErrorCode::out_of_range);
  CHECK(code_of_concat({counting({2, 2}), counting({2, 3})}, 0) == ErrorCode::out_of_range);
  CHECK(code_of_concat({counting({2, 2}), counting({2})}, 0) == ErrorCode::out_of_range);
  CHECK(code_of_stack({counting({2}), counting({3})}, 0) == ErrorCode::out_of_range);
  CHECK(code_of_concat({counting({2}), bytes}, 0) == ErrorCode::type_mismatch);
  const TensorView vast = TensorView::over("vast", DType::u8, Shape{INT64_MAX, 0}, {});
  CHECK(code_of_concat({vast, vast}, 0) == ErrorCode::out_of_range);
  const TensorView blocks = TensorView::over("q", DType::q4_0, {2, 32}, Bytes::copy_of(std::vector<std::byte>(36)));
  CHECK(code_of_stack({blocks, blocks}, 2) == ErrorCode::out_of_range);
  const std::vector<TensorView> both = {blocks, blocks};
  CHECK(stack("q", both, 1).size_bytes() == 72);
}
