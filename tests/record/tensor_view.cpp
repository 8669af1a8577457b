#include "heft/tensor_view.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <complex>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "heft/checkpoint.hpp"
#include "record/support.hpp"
#include "record/view_access.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using test::counting;
using test::shape_of;
using test::strides_of;
using test::thrown_by;
using test::values_of;

TEST_CASE("view: over() takes exactly the bytes that dtype and shape need") {
  const TensorView view = counting({2, 3});
  CHECK(view.name() == "counting");
  CHECK(view.dtype() == DType::f32);
  CHECK(view.shape() == Shape{2, 3});
  CHECK(view.strides() == Strides{3, 1});
  CHECK(view.element_count() == 6);
  CHECK(view.size_bytes() == 24);
  CHECK(view.storage_bytes() == 24);
  CHECK(view.offset() == 0);
  CHECK(view.shard_path().empty());
  const Bytes eight = Bytes::copy_of(std::vector<std::byte>(8));
  CHECK(thrown_by([&] { static_cast<void>(TensorView::over("x", DType::f32, {3}, eight)); }).code() ==
        ErrorCode::out_of_range);
  CHECK(thrown_by([&] { static_cast<void>(TensorView::over("x", DType::q4_0, {31}, eight)); }).code() ==
        ErrorCode::corrupt);
}

TEST_CASE("view: an empty view has no name, no data and rank 0") {
  const TensorView view;
  CHECK(view.name().empty());
  CHECK(view.dtype() == DType::unknown);
  CHECK(view.rank() == 0);
  CHECK(view.pieces().empty());
  CHECK(view.bytes().empty());
  CHECK(!view.shares_storage_with(view));
}

TEST_CASE("view: slices are arithmetic on strides, and read the elements that they select") {
  const TensorView whole = counting({4, 6});
  const TensorView rows = whole.slice(0, 1, 3);
  CHECK(rows.shape() == Shape{2, 6});
  CHECK(rows.is_contiguous());
  CHECK(rows.offset() == 24);
  CHECK(values_of(rows) == std::vector<float>{6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17});
  const TensorView columns = whole.slice(1, 4, 6);
  CHECK(columns.shape() == Shape{4, 2});
  CHECK(!columns.is_contiguous());
  CHECK(values_of(columns) == std::vector<float>{4, 5, 10, 11, 16, 17, 22, 23});
  CHECK(columns.shares_storage_with(rows));
  CHECK(columns.storage_bytes() == whole.size_bytes());
  CHECK(whole.slice(1, 0, 6).is_contiguous());
}

TEST_CASE("view: an empty slice keeps its place inside the storage") {
  const TensorView nothing = counting({4, 6}).slice(0, 4, 4);
  CHECK(nothing.shape() == Shape{0, 6});
  CHECK(nothing.is_contiguous());
  CHECK(nothing.bytes().empty());
  CHECK(nothing.offset() <= nothing.storage_bytes());
  CHECK(nothing.as<float>().empty());
}

TEST_CASE("view: a slice outside its dim is out_of_range and names the tensor") {
  const TensorView whole = counting({4, 6});
  for (const auto& [dim, begin, end] : {std::tuple<std::size_t, int, int>{0, -1, 2}, {0, 3, 2}, {1, 0, 7}, {2, 0, 1}}) {
    const Error error = thrown_by([&, d = dim, b = begin, e = end] { static_cast<void>(whole.slice(d, b, e)); });
    CHECK(error.code() == ErrorCode::out_of_range);
    CHECK(error.tensor() == "counting");
  }
}

TEST_CASE("view: shards tile the tensor along either dim") {
  const TensorView whole = counting({8, 6});
  std::vector<float> joined;
  for (int rank = 0; rank < 4; ++rank) {
    const auto part = values_of(whole.shard(0, rank, 4));
    joined.insert(joined.end(), part.begin(), part.end());
  }
  CHECK(joined == values_of(whole));
  CHECK(values_of(whole.shard(1, 2, 3)) == values_of(whole.slice(1, 4, 6)));
  CHECK(shape_of(whole.shard(0, 0, 1)) == whole.shape());
}

TEST_CASE("view: an uneven shard is refused unless asked for") {
  const TensorView whole = counting({10});
  CHECK(thrown_by([&] { static_cast<void>(whole.shard(0, 0, 4)); }).code() == ErrorCode::out_of_range);
  std::vector<std::int64_t> sizes;
  for (int rank = 0; rank < 4; ++rank) sizes.push_back(shape_of(whole.shard(0, rank, 4, Uneven::last_short))[0]);
  CHECK(sizes == std::vector<std::int64_t>{3, 3, 3, 1});
  // More ranks than elements: the last get none.
  CHECK(counting({2}).shard(0, 3, 4, Uneven::last_short).element_count() == 0);
  CHECK(shape_of(whole.shard(0, 9, 12, Uneven::last_short)) == Shape{1});
  CHECK(shape_of(whole.shard(0, 11, 12, Uneven::last_short)) == Shape{0});
  CHECK(shape_of(whole.shard(0, INT64_MAX - 1, INT64_MAX, Uneven::last_short)) == Shape{0});
  CHECK(counting({0, 3}).shard(0, 1, 2).element_count() == 0);
  for (const auto& [rank, size] : {std::pair{-1, 2}, {2, 2}, {0, 0}, {0, -1}})
    CHECK(thrown_by([&, r = rank, s = size] { static_cast<void>(whole.shard(0, r, s)); }).code() ==
          ErrorCode::out_of_range);
}

TEST_CASE("view: transpose exchanges dims, and twice is the same view") {
  const TensorView whole = counting({2, 3, 4});
  const TensorView turned = whole.transpose(0, 2);
  CHECK(turned.shape() == Shape{4, 3, 2});
  CHECK(turned.strides() == Strides{1, 4, 12});
  CHECK(turned.read<float>(3, 2, 1) == whole.read<float>(1, 2, 3));
  CHECK(turned.transpose(2, 0).is_contiguous());
  CHECK(strides_of(whole.transpose(1, 1)) == whole.strides());
  CHECK(thrown_by([&] { static_cast<void>(whole.transpose(0, 3)); }).code() == ErrorCode::out_of_range);
}

TEST_CASE("view: reshape keeps row-major order, as a view where strides can express it") {
  const TensorView whole = counting({4, 6});
  CHECK(values_of(whole.reshape({2, 2, 6})) == values_of(whole));
  CHECK(values_of(whole.reshape({24})) == values_of(whole));
  // Columns: dim 0 can be split, but not joined with dim 1.
  const TensorView columns = whole.slice(1, 0, 4);
  CHECK(values_of(columns.reshape({2, 2, 2, 2})) == values_of(columns));
  CHECK(values_of(columns.reshape({4, 1, 4})) == values_of(columns));
  CHECK(thrown_by([&] { static_cast<void>(columns.reshape({16})); }).code() == ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { static_cast<void>(whole.transpose(0, 1).reshape({24})); }).code() == ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { static_cast<void>(whole.reshape({5, 5})); }).code() == ErrorCode::out_of_range);
  CHECK(values_of(counting({1}).reshape(Shape{})) == std::vector<float>{0});
  CHECK(shape_of(whole.slice(0, 0, 0).reshape({0, 2})) == Shape{0, 2});
}

TEST_CASE("view: as() is strict about dtype, layout and alignment") {
  const TensorView whole = counting({2, 3});
  const Slice<float> slice = whole.as<float>();
  CHECK(slice.size() == 6);
  CHECK(slice[5] == 5);
  CHECK(thrown_by([&] { static_cast<void>(whole.as<bf16>()); }).code() == ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { static_cast<void>(whole.as<std::int32_t>()); }).code() == ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { static_cast<void>(whole.transpose(0, 1).as<float>()); }).code() == ErrorCode::type_mismatch);
  const Bytes odd = Bytes::copy_of(std::vector<std::byte>(5)).subrange(1, 4);
  const TensorView shifted = TensorView::over("odd", DType::f32, {1}, odd);
  CHECK(thrown_by([&] { static_cast<void>(shifted.as<float>()); }).code() == ErrorCode::misaligned);
  CHECK(shifted.read<float>(0) == 0);
}

TEST_CASE("view: read() loads one element and checks its indices") {
  const TensorView whole = counting({2, 3});
  CHECK(whole.read<float>(1, 2) == 5);
  CHECK(counting({}).read<float>() == 0);
  CHECK(thrown_by([&] { static_cast<void>(whole.read<double>(0, 0)); }).code() == ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { static_cast<void>(whole.read<float>(0)); }).code() == ErrorCode::out_of_range);
  CHECK(thrown_by([&] { static_cast<void>(whole.read<float>(0, 3)); }).code() == ErrorCode::out_of_range);
  CHECK(thrown_by([&] { static_cast<void>(whole.read<float>(-1, 0)); }).code() == ErrorCode::out_of_range);
}

TEST_CASE("view: blocks are cut at whole blocks only, and stay innermost") {
  const Bytes room = Bytes::copy_of(std::vector<std::byte>(4 * 2 * 18));
  const TensorView blocks = TensorView::over("q", DType::q4_0, {4, 64}, room);
  CHECK(shape_of(blocks.slice(1, 32, 64)) == Shape{4, 32});
  CHECK(blocks.slice(1, 32, 64).offset() == 18);
  CHECK(blocks.slice(0, 1, 2).offset() == 36);
  CHECK(blocks.slice(0, 1, 2).size_bytes() == 36);
  CHECK(thrown_by([&] { static_cast<void>(blocks.slice(1, 16, 64)); }).code() == ErrorCode::misaligned);
  CHECK(thrown_by([&] { static_cast<void>(blocks.slice(1, 0, 33)); }).code() == ErrorCode::misaligned);
  CHECK(thrown_by([&] { static_cast<void>(blocks.transpose(0, 1)); }).code() == ErrorCode::type_mismatch);
  CHECK(shape_of(blocks.reshape({2, 2, 64}).transpose(0, 1)) == Shape{2, 2, 64});
  CHECK_THROWS_AS(static_cast<void>(blocks.reshape({16, 16})), Error);
}

TEST_CASE("view: two elements in a byte part only where a byte does") {
  // f4 of shape [4, 3]: rows begin in the middle of bytes.
  const TensorView nibbles = TensorView::over("f4", DType::f4_e2m1, {4, 3}, Bytes::copy_of(std::vector<std::byte>(6)));
  CHECK(nibbles.slice(0, 0, 2).size_bytes() == 3);
  CHECK(nibbles.slice(0, 2, 4).offset() == 3);
  CHECK(thrown_by([&] { static_cast<void>(nibbles.slice(0, 1, 3)); }).code() == ErrorCode::misaligned);
  CHECK(thrown_by([&] { static_cast<void>(nibbles.slice(0, 0, 1)); }).code() == ErrorCode::misaligned);
  CHECK(thrown_by([&] { static_cast<void>(nibbles.reshape({2, 2, 3}).slice(1, 0, 1)); }).code() ==
        ErrorCode::misaligned);
}

TEST_CASE("view: a swapped, conjugated or negated tensor is read right and refuses as()") {
  const float numbers[] = {1.5f, -2.0f};
  std::byte reversed[8];
  for (std::size_t i = 0; i < 8; ++i) reversed[i] = std::as_bytes(std::span(numbers))[i / 4 * 4 + 3 - i % 4];
  const auto source = record::memory_source(Bytes::copy_of(reversed));
  const auto view = [&](DType dtype, std::vector<std::int64_t> shape, std::uint8_t flags) {
    return ViewAccess::make({source, "x", {}, 0, 8, 0, shape, {}, dtype, flags});
  };
  CHECK(view(DType::f32, {2}, 2).read<float>(1) == -2.0f);
  CHECK(view(DType::f32, {2}, 2 | 8).read<float>(0) == -1.5f);
  CHECK(view(DType::c64, {1}, 2).read<std::complex<float>>(0) == std::complex<float>(1.5f, -2.0f));
  CHECK(view(DType::c64, {1}, 2 | 4).read<std::complex<float>>(0) == std::complex<float>(1.5f, 2.0f));
  CHECK(view(DType::c64, {1}, 2 | 4 | 8).read<std::complex<float>>(0) == std::complex<float>(-1.5f, -2.0f));
  CHECK(thrown_by([&] { static_cast<void>(view(DType::f32, {2}, 2).as<float>()); }).code() == ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { static_cast<void>(view(DType::f32, {2}, 8).as<float>()); }).code() == ErrorCode::type_mismatch);
  CHECK(view(DType::f32, {2}, 2).bytes().size_bytes() == 8);
  const TensorView meta = view(DType::f32, {2}, 16);
  CHECK(!meta.has_data());
  CHECK(thrown_by([&] { static_cast<void>(meta.bytes()); }).code() == ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { static_cast<void>(meta.read<float>(0)); }).code() == ErrorCode::type_mismatch);
}

TEST_CASE("view: a dtype without a row is raw bytes under its own word") {
  const auto source = record::memory_source(Bytes::copy_of(std::vector<std::byte>(10)));
  const std::vector<std::int64_t> shape{3};
  const TensorView view = ViewAccess::make({source, "x", "F7_ODD", 0, 10, 0, shape, {}, DType::unknown, 0});
  CHECK(view.dtype_name() == "F7_ODD");
  CHECK(view.size_bytes() == 10);
  CHECK(view.bytes().size_bytes() == 10);
  CHECK(thrown_by([&] { static_cast<void>(view.slice(0, 0, 1)); }).code() == ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { static_cast<void>(view.as<std::uint8_t>()); }).code() == ErrorCode::type_mismatch);
}

TEST_CASE("view: it outlives the checkpoint, and its bytes and slices outlive the view") {
  for (const Access access : {Access::map, Access::read}) {
    const test::TempFolder folder;
    const auto path = folder.write(
        "m.safetensors",
        test::SafetensorsBuilder().add("a.weight", "F32", {2, 2}, test::packed<float>({1, 2, 3, 4})).build());
    Slice<float> slice;
    Bytes bytes;
    TensorView row;
    {
      std::optional<Checkpoint> checkpoint = open(path, {.access = access});
      std::optional<TensorView> view = checkpoint->tensor("a.weight");
      checkpoint.reset();
      std::filesystem::remove(path);
      CHECK(view->name() == "a.weight");
      row = view->slice(0, 1, 2);
      slice = view->as<float>();
      bytes = view->bytes();
    }
    CHECK(slice[3] == 4);
    CHECK(bytes.size_bytes() == 16);
    CHECK(row.name() == "a.weight");
    CHECK(row.shard_path() == path.string());
    CHECK(row.read<float>(0, 1) == 4);
  }
}

TEST_CASE("view: const members may be called from several threads") {
  const TensorView whole = counting({64, 64});
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const TensorView part = whole.shard(0, t, 4).slice(1, i % 64, i % 64 + 1);
        if (part.read<float>(3, 0) != static_cast<float>((t * 16 + 3) * 64 + i % 64)) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}
