#include "materialize/sink/strided_copy.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "heft/element.hpp"
#include "materialize/every_target.hpp"

namespace {

using namespace heft;
using engine::Axis;
using kernels::Conversion;
using kernels::Store;

constexpr std::byte untouched{0x5A};

std::vector<std::byte> random_bytes(std::size_t size) {
  std::vector<std::byte> bytes(size);
  std::mt19937 random(17);
  std::generate(bytes.begin(), bytes.end(), [&] { return std::byte(random()); });
  return bytes;
}

struct Shape3 {
  std::vector<std::int64_t> counts;  // in the source's order, the last one packed
  std::vector<std::size_t> order;    // of the source's dims in the destination; the last one packed
};

// Axes of a source that is packed but for `from_gap` bytes behind each run, written in the order of `shape` with
// `to_gap` bytes behind each run.
std::vector<Axis> axes_of(const Shape3& shape, const Conversion& conversion, std::int64_t from_gap,
                          std::int64_t to_gap) {
  std::vector<Axis> axes(shape.counts.size());
  std::int64_t from_step = conversion.from_bytes();
  std::int64_t to_step = conversion.to_bytes();
  for (std::size_t i = axes.size(); i-- > 0;) {
    axes[i].count = shape.counts[i];
    axes[i].from_step = from_step;
    from_step = from_step * shape.counts[i] + (i + 1 == axes.size() ? from_gap : 0);
  }
  for (std::size_t i = axes.size(); i-- > 0;) {
    axes[shape.order[i]].to_step = to_step;
    to_step = to_step * shape.counts[shape.order[i]] + (i + 1 == axes.size() ? to_gap : 0);
  }
  return axes;
}

std::size_t span_of(const std::vector<Axis>& axes, std::int64_t Axis::*step, std::size_t unit) {
  std::size_t span = unit;
  for (const Axis& axis : axes) span += static_cast<std::size_t>((axis.count - 1) * std::abs(axis.*step));
  return span;
}

// One unit at a time, by the definition.
void fill_slowly(const Conversion& conversion, std::span<const Axis> axes, const std::byte* from, std::byte* to) {
  if (axes.empty()) return conversion.run(from, to, 1, Store::cached);
  for (std::int64_t i = 0; i < axes[0].count; ++i)
    fill_slowly(conversion, axes.subspan(1), from + i * axes[0].from_step, to + i * axes[0].to_step);
}

void check(const Conversion& conversion, const std::vector<Axis>& axes, std::size_t from_shift, std::size_t to_shift) {
  const std::vector<std::byte> source =
      random_bytes(from_shift + span_of(axes, &Axis::from_step, conversion.from_bytes()));
  std::size_t first = to_shift + 64;  // of the first unit, which is not at the start when steps go backwards
  for (const Axis& axis : axes)
    if (axis.to_step < 0) first += static_cast<std::size_t>((axis.count - 1) * -axis.to_step);
  std::vector<std::byte> expected(to_shift + 128 + span_of(axes, &Axis::to_step, conversion.to_bytes()), untouched);
  std::vector<std::byte> target = expected;
  fill_slowly(conversion, axes, source.data() + from_shift, expected.data() + first);
  for (const Store store : {Store::cached, Store::streaming}) {
    std::fill(target.begin(), target.end(), untouched);
    engine::copy_part(conversion, axes, axes[0].count, source.data() + from_shift, target.data() + first, store);
    kernels::finish_stores(store);
    REQUIRE(std::memcmp(target.data(), expected.data(), target.size()) == 0);
  }
}

Conversion copy_of(DType type) { return Conversion::find(type, type, {}); }

constexpr DType of_each_width[] = {DType::u8, DType::bf16, DType::f32, DType::f64, DType::c128};

}  // namespace

TEST_CASE("fill: matrices of every element size and of odd sizes are transposed, whatever the alignment") {
  test::on_every_target([] {
    for (const DType type : of_each_width)
      for (const auto& [rows, columns] : {std::pair<std::int64_t, std::int64_t>{2, 3},
                                          {131, 7},
                                          {3, 1031},
                                          {67, 521},
                                          {257, 129},
                                          {64, 64},
                                          {128, 1024}})
        for (const std::size_t shift : {0, 1, 48}) {
          INFO(name(type), " ", rows, " x ", columns, " shifted by ", shift);
          check(copy_of(type), axes_of({{rows, columns}, {1, 0}}, copy_of(type), 0, 0), shift, shift);
        }
  });
}

TEST_CASE("fill: rows with gaps, on either side, leave the gaps unchanged") {
  for (const DType type : of_each_width)
    for (const std::int64_t gap : {1, 16, 61}) {
      INFO(name(type), " gap ", gap);
      check(copy_of(type), axes_of({{97, 203}, {1, 0}}, copy_of(type), gap, 0), 3, 0);
      check(copy_of(type), axes_of({{97, 203}, {1, 0}}, copy_of(type), 0, gap), 0, 5);
      check(copy_of(type), axes_of({{97, 203}, {0, 1}}, copy_of(type), gap, gap), 1, 2);
    }
}

TEST_CASE("fill: any permutation of four dims puts every element in its place") {
  for (const DType type : of_each_width) {
    std::vector<std::size_t> order = {0, 1, 2, 3};
    do {
      INFO(name(type), " order ", order[0], order[1], order[2], order[3]);
      check(copy_of(type), axes_of({{5, 13, 3, 67}, order}, copy_of(type), 0, 0), 0, 0);
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

TEST_CASE("fill: steps of the destination may go backwards") {
  for (const DType type : of_each_width) {
    for (const std::size_t reversed : {0, 1}) {
      std::vector<Axis> axes = axes_of({{71, 149}, {1, 0}}, copy_of(type), 0, 0);
      axes[reversed].to_step = -axes[reversed].to_step;
      INFO(name(type), " axis ", reversed);
      check(copy_of(type), axes, 0, 0);
    }
  }
}

TEST_CASE("fill: elements are converted and transposed in one go") {
  test::on_every_target([] {
    for (const auto& [from, to] : {std::pair{DType::bf16, DType::f32},
                                   {DType::f32, DType::bf16},
                                   {DType::f8_e4m3, DType::bf16},
                                   {DType::f16, DType::bf16},
                                   {DType::f64, DType::f32},
                                   {DType::u8, DType::i64},
                                   {DType::c64, DType::c128}}) {
      const Conversion conversion = Conversion::find(from, to, {});
      INFO(name(from), " to ", name(to));
      check(conversion, axes_of({{131, 263}, {1, 0}}, conversion, 0, 0), 0, 0);
      check(conversion, axes_of({{3, 65, 37}, {2, 0, 1}}, conversion, 0, 0), 1, 1);
    }
    const Conversion swapped = Conversion::find(DType::f32, DType::f32, {.swapped = true});
    check(swapped, axes_of({{131, 263}, {1, 0}}, swapped, 0, 0), 0, 0);
  });
}

TEST_CASE("fill: a part fills its first rows and no more") {
  const Conversion conversion = copy_of(DType::bf16);
  const std::vector<Axis> axes = axes_of({{100, 50}, {1, 0}}, conversion, 0, 0);
  const std::vector<std::byte> source = random_bytes(100 * 50 * 2);
  std::vector<std::byte> expected(source.size(), untouched);
  std::vector<std::byte> target = expected;
  std::vector<Axis> cut = axes;
  cut[0].count = 37;
  fill_slowly(conversion, cut, source.data(), expected.data());
  engine::copy_part(conversion, axes, 37, source.data(), target.data(), Store::streaming);
  CHECK(target == expected);
}
