#include "kernels/conversion.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <vector>

#include "heft/element.hpp"
#include "materialize/every_target.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;
using kernels::Conversion;
using kernels::Store;

template <class To, class From>
std::vector<To> converted(DType from, DType to, const std::vector<From>& values, Conversion::Traits traits = {}) {
  const Conversion conversion = Conversion::find(from, to, traits);
  const std::size_t units = values.size() * sizeof(From) / conversion.from_bytes();
  std::vector<To> result(units * conversion.to_bytes() / sizeof(To));
  for (const Store store : {Store::streaming, Store::cached})
    conversion.run(reinterpret_cast<const std::byte*>(values.data()), reinterpret_cast<std::byte*>(result.data()),
                   units, store);
  return result;
}

template <class From, class To>
void check_real_pair(DType from, DType to) {
  std::vector<From> values;
  for (int i = 0; i < 5000; ++i) values.push_back(From(static_cast<float>(std::sin(i) * std::exp2(i % 40 - 20))));
  const std::vector<To> result = converted<To>(from, to, values);
  REQUIRE(result.size() == values.size());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const To expected = To(static_cast<float>(values[i]));
    wrong += std::memcmp(&result[i], &expected, sizeof(To)) != 0;
  }
  INFO(name(from), " to ", name(to));
  CHECK(wrong == 0);
}

template <class From, class... To>
void check_from(DType from) {
  (check_real_pair<From, To>(from, dtype_of<To>), ...);
}

template <class... Real>
void check_every_pair() {
  (check_from<Real, Real...>(dtype_of<Real>), ...);
}

}  // namespace

TEST_CASE("conversion: every real type converts to every real type, on every target") {
  test::on_every_target(
      [] { check_every_pair<float, double, f16, bf16, f8_e4m3, f8_e5m2, f8_e4m3fnuz, f8_e5m2fnuz>(); });
}

TEST_CASE("conversion: doubles narrow in one rounding, not in two") {
  // Just above the middle between the f16 values 1 and 1 + 2^-10: rounded to f32 first it would be that middle, and
  // then round to even, to 1.
  const double above = 1 + std::exp2(-11) + std::exp2(-40);
  const double below = 1 + 3 * std::exp2(-11) - std::exp2(-40);
  CHECK(converted<f16>(DType::f64, DType::f16, std::vector{above, below, -above}) ==
        std::vector{f16(1 + std::exp2(-10.0F)), f16(1 + std::exp2(-10.0F)), f16(-1 - std::exp2(-10.0F))});
  const double middle = 1 + std::exp2(-8) + std::exp2(-50);
  CHECK(converted<bf16>(DType::f64, DType::bf16, std::vector{middle}) == std::vector{bf16(1 + std::exp2(-7.0F))});
  const std::vector<float> nearest = converted<float>(DType::f64, DType::f32, std::vector{0.1, 1e300, -1e-300});
  CHECK(nearest == std::vector{0.1F, INFINITY, -0.0F});
  CHECK(std::isnan(static_cast<float>(converted<f16>(DType::f64, DType::f16, std::vector{std::nan("")})[0])));
}

TEST_CASE("conversion: integers and booleans extend exactly") {
  CHECK(converted<std::int64_t>(DType::i8, DType::i64, std::vector<std::int8_t>{-128, -1, 0, 127}) ==
        std::vector<std::int64_t>{-128, -1, 0, 127});
  CHECK(converted<std::int16_t>(DType::u8, DType::i16, std::vector<std::uint8_t>{0, 255}) ==
        std::vector<std::int16_t>{0, 255});
  CHECK(converted<std::uint64_t>(DType::u32, DType::u64, std::vector<std::uint32_t>{4'294'967'295u}) ==
        std::vector<std::uint64_t>{4'294'967'295u});
  CHECK(converted<std::int64_t>(DType::i32, DType::i64,
                                std::vector<std::int32_t>{std::numeric_limits<std::int32_t>::min()}) ==
        std::vector<std::int64_t>{std::numeric_limits<std::int32_t>::min()});
  CHECK(converted<std::int32_t>(DType::boolean, DType::i32, std::vector<std::uint8_t>{0, 1, 2, 255}) ==
        std::vector<std::int32_t>{0, 1, 1, 1});
  CHECK(converted<std::uint8_t>(DType::boolean, DType::u8, std::vector<std::uint8_t>(3000, 7)) ==
        std::vector<std::uint8_t>(3000, 1));
}

TEST_CASE("conversion: complex types change width part by part") {
  const std::vector<std::complex<double>> values = {{1, -2}, {0.5, 1e300}};
  CHECK(converted<std::complex<float>>(DType::c128, DType::c64, values) ==
        std::vector<std::complex<float>>{{1, -2}, {0.5F, INFINITY}});
  CHECK(converted<f16>(DType::c64, DType::c32, std::vector<std::complex<float>>{{3, -4}}) ==
        std::vector{f16(3.0F), f16(-4.0F)});
}

TEST_CASE("conversion: byte order and PyTorch's lazy signs are resolved, with and without a change of type") {
  const std::vector<std::uint8_t> big = {0x3F, 0x80, 0, 0, 0xC0, 0, 0, 0};
  CHECK(converted<float>(DType::f32, DType::f32, big, {.swapped = true}) == std::vector{1.0F, -2.0F});
  CHECK(converted<bf16>(DType::f32, DType::bf16, big, {.swapped = true}) == std::vector{bf16(1.0F), bf16(-2.0F)});
  CHECK(converted<float>(DType::f32, DType::f32, std::vector{1.0F, -2.0F}, {.negated = true}) ==
        std::vector{-1.0F, 2.0F});
  using C = std::complex<float>;
  const std::vector<C> values = {{1, 2}, {3, -4}};
  CHECK(converted<C>(DType::c64, DType::c64, values, {.conjugated = true}) == std::vector<C>{{1, -2}, {3, 4}});
  CHECK(converted<C>(DType::c64, DType::c64, values, {.conjugated = true, .negated = true}) ==
        std::vector<C>{{-1, 2}, {-3, -4}});
  CHECK(converted<std::complex<double>>(DType::c64, DType::c128, values, {.conjugated = true}) ==
        std::vector<std::complex<double>>{{1, -2}, {3, 4}});
}

TEST_CASE("conversion: the negative bit is refused for a dtype whose top bit does not negate every value") {
  for (const DType dtype : {DType::f8_e4m3fnuz, DType::f8_e5m2fnuz, DType::f8_e8m0, DType::i32, DType::q8_0}) {
    INFO(name(dtype));
    CHECK(test::thrown_by([&] { (void)Conversion::find(dtype, dtype, {.negated = true}); }).code() ==
          ErrorCode::unsupported);
  }
  for (const DType dtype : {DType::f8_e4m3, DType::f8_e5m2, DType::f16, DType::bf16, DType::f32, DType::f64})
    CHECK_NOTHROW((void)Conversion::find(dtype, dtype, {.negated = true}));
}

TEST_CASE("conversion: f4 unpacks the low nibble first") {
  CHECK(converted<float>(DType::f4_e2m1, DType::f32, std::vector<std::uint8_t>{0x21, 0xF8}) ==
        std::vector{0.5F, 1.0F, -0.0F, -6.0F});
  CHECK(converted<bf16>(DType::f4_e2m1, DType::bf16, std::vector<std::uint8_t>{0x7A}) ==
        std::vector{bf16(-1.0F), bf16(6.0F)});
}

TEST_CASE("conversion: blocks are decoded, in either byte order, and swapped when they stay blocks") {
  // q8_0: an f16 scale, then 32 signed bytes.
  std::vector<std::uint8_t> block = {0x00, 0x38};
  for (int i = 0; i < 32; ++i) block.push_back(static_cast<std::uint8_t>(i - 16));
  std::vector<std::uint8_t> big = block;
  std::swap(big[0], big[1]);
  std::vector<float> expected;
  for (int i = 0; i < 32; ++i) expected.push_back(0.5F * static_cast<float>(i - 16));
  CHECK(converted<float>(DType::q8_0, DType::f32, block) == expected);
  CHECK(converted<float>(DType::q8_0, DType::f32, big, {.swapped = true}) == expected);
  CHECK(converted<std::uint8_t>(DType::q8_0, DType::q8_0, big, {.swapped = true}) == block);
  CHECK(converted<bf16>(DType::q8_0, DType::bf16, block)[0] == bf16(-8.0F));
}

TEST_CASE("conversion: pairs that would lose a value or change its kind are refused beforehand") {
  using P = std::pair<DType, DType>;
  for (const auto& [from, to] :
       {P{DType::f32, DType::i32}, P{DType::i32, DType::f32}, P{DType::i32, DType::i16}, P{DType::u32, DType::i32},
        P{DType::i8, DType::u16}, P{DType::u8, DType::boolean}, P{DType::boolean, DType::f32},
        P{DType::c64, DType::f32}, P{DType::f32, DType::c64}, P{DType::c64, DType::u64}, P{DType::f32, DType::q4_0},
        P{DType::f32, DType::f4_e2m1}, P{DType::qi8, DType::f32}, P{DType::unknown, DType::u8},
        P{DType::f16, DType::u16}, P{DType::bits16, DType::f16}}) {
    INFO(name(from), " to ", name(to));
    CHECK(test::thrown_by([&] { (void)Conversion::find(from, to, {}); }).code() == ErrorCode::unsupported);
  }
}
