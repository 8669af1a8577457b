#include "heft/element.hpp"

#include <bit>
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

using heft::DType;

namespace {

// Every code of a small float, in order of magnitude, must convert back to itself. The middle between two neighbours
// must round to the even one, and the f32 on either side of the middle to the nearer one.
template <class Widen, class Narrow>
void check_rounding(std::uint32_t codes, Widen widen, Narrow narrow) {
  for (std::uint32_t code = 0; code + 1 < codes; ++code) {
    const float low = widen(code);
    const float high = widen(code + 1);
    if (!std::isfinite(low) || !std::isfinite(high)) continue;
    const float middle = static_cast<float>((static_cast<double>(low) + static_cast<double>(high)) / 2);
    CHECK(narrow(low) == code);
    CHECK(narrow(-low) == (code | codes));
    CHECK(narrow(middle) == (code % 2 == 0 ? code : code + 1));
    CHECK(narrow(std::nextafter(middle, low)) == code);
    CHECK(narrow(std::nextafter(middle, high)) == code + 1);
  }
}

const float infinity = std::numeric_limits<float>::infinity();
const float nan_value = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST_CASE("element: f16 rounds to nearest even at every pair of neighbours") {
  check_rounding(
      0x8000, [](std::uint32_t code) { return heft::f16_to_f32(static_cast<std::uint16_t>(code)); },
      [](float value) { return std::uint32_t{heft::f32_to_f16(value)}; });
}

TEST_CASE("element: bf16 rounds to nearest even at every pair of neighbours") {
  check_rounding(
      0x8000, [](std::uint32_t code) { return heft::bf16_to_f32(static_cast<std::uint16_t>(code)); },
      [](float value) { return std::uint32_t{heft::f32_to_bf16(value)}; });
}

TEST_CASE("element: each f8 rounds to nearest even at every pair of neighbours") {
  for (const DType dtype : {DType::f8_e4m3, DType::f8_e5m2}) {
    check_rounding(
        0x80, [&](std::uint32_t code) { return heft::f8_to_f32(dtype, static_cast<std::uint8_t>(code)); },
        [&](float value) { return std::uint32_t{heft::f32_to_f8(dtype, value)}; });
  }
  for (const DType dtype : {DType::f8_e4m3fnuz, DType::f8_e5m2fnuz}) {
    for (std::uint32_t code = 0; code < 256; ++code) {
      const float value = heft::f8_to_f32(dtype, static_cast<std::uint8_t>(code));
      CHECK(heft::f32_to_f8(dtype, value) == code);  // 0x80 is NaN and converts back to it
    }
  }
}

TEST_CASE("element: known values of f16 and bf16") {
  CHECK(heft::f16_to_f32(0x3C00) == 1.0F);
  CHECK(heft::f16_to_f32(0x7BFF) == 65504.0F);
  CHECK(heft::f16_to_f32(0x0001) == std::ldexp(1.0F, -24));
  CHECK(heft::f16_to_f32(0xFC00) == -infinity);
  CHECK(heft::f32_to_f16(65519.996F) == 0x7BFF);
  CHECK(heft::f32_to_f16(65520.0F) == 0x7C00);
  CHECK(heft::f32_to_f16(std::ldexp(1.0F, -25)) == 0);
  CHECK(heft::f32_to_bf16(3.4e38F) == 0x7F80);
  CHECK(heft::bf16_to_f32(0x4049) == 3.140625F);
}

TEST_CASE("element: NaN stays NaN, infinity stays infinity where there is one") {
  CHECK(std::isnan(heft::f16_to_f32(heft::f32_to_f16(nan_value))));
  CHECK(std::isnan(heft::bf16_to_f32(heft::f32_to_bf16(nan_value))));
  // A payload only in the bits that bf16 drops must not turn into infinity.
  CHECK(std::isnan(heft::bf16_to_f32(heft::f32_to_bf16(std::bit_cast<float>(0x7F80'0001u)))));
  CHECK(std::isnan(heft::f16_to_f32(heft::f32_to_f16(std::bit_cast<float>(0xFF80'0001u)))));
  CHECK(heft::f32_to_f16(-infinity) == 0xFC00);
  CHECK(heft::f32_to_bf16(infinity) == 0x7F80);
  for (const DType dtype : {DType::f8_e4m3, DType::f8_e5m2, DType::f8_e4m3fnuz, DType::f8_e5m2fnuz, DType::f8_e8m0})
    CHECK(std::isnan(heft::f8_to_f32(dtype, heft::f32_to_f8(dtype, nan_value))));
}

TEST_CASE("element: f8 overflow saturates, except for e5m2, which has infinities") {
  CHECK(heft::f8_to_f32(DType::f8_e4m3, heft::f32_to_f8(DType::f8_e4m3, 1e9F)) == 448);
  CHECK(heft::f8_to_f32(DType::f8_e4m3, heft::f32_to_f8(DType::f8_e4m3, -infinity)) == -448);
  CHECK(heft::f8_to_f32(DType::f8_e5m2, heft::f32_to_f8(DType::f8_e5m2, 1e9F)) == infinity);
  CHECK(heft::f8_to_f32(DType::f8_e4m3fnuz, heft::f32_to_f8(DType::f8_e4m3fnuz, 1e9F)) == 240);
  CHECK(heft::f8_to_f32(DType::f8_e5m2fnuz, heft::f32_to_f8(DType::f8_e5m2fnuz, -1e9F)) == -57344);
  CHECK(heft::f8_to_f32(DType::f8_e4m3, 0x01) == std::ldexp(1.0F, -9));
}

TEST_CASE("element: the fnuz types have no negative zero") {
  CHECK(heft::f32_to_f8(DType::f8_e4m3fnuz, -0.0F) == 0);
  CHECK(heft::f32_to_f8(DType::f8_e5m2fnuz, -1e-30F) == 0);
  CHECK(heft::f32_to_f8(DType::f8_e4m3, -0.0F) == 0x80);
}

TEST_CASE("element: e8m0 holds powers of two") {
  CHECK(heft::f8_to_f32(DType::f8_e8m0, 127) == 1);
  CHECK(heft::f8_to_f32(DType::f8_e8m0, 0) == std::ldexp(1.0F, -127));
  for (int code = 0; code < 255; ++code)
    CHECK(heft::f32_to_f8(DType::f8_e8m0, heft::f8_to_f32(DType::f8_e8m0, static_cast<std::uint8_t>(code))) == code);
  CHECK(heft::f32_to_f8(DType::f8_e8m0, 1.5F) == 128);  // the tie rounds to the even code
  CHECK(heft::f32_to_f8(DType::f8_e8m0, 3.0F) == 128);
  CHECK(heft::f32_to_f8(DType::f8_e8m0, infinity) == 254);
  CHECK(heft::f32_to_f8(DType::f8_e8m0, -1.0F) == 255);
  CHECK(heft::f32_to_f8(DType::f8_e8m0, 0.0F) == 0);
}

TEST_CASE("element: f4 has sixteen values") {
  const float magnitudes[] = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6};
  for (std::uint8_t code = 0; code < 8; ++code) {
    CHECK(heft::f8_to_f32(DType::f4_e2m1, code) == magnitudes[code]);
    CHECK(heft::f8_to_f32(DType::f4_e2m1, static_cast<std::uint8_t>(code | 8)) == -magnitudes[code]);
  }
}

TEST_CASE("element: the structs convert explicitly and compare by bits") {
  CHECK(static_cast<float>(heft::bf16(1.5F)) == 1.5F);
  CHECK(static_cast<float>(heft::f8_e4m3(1.75F)) == 1.75F);
  CHECK(heft::f16(0.0F) != heft::f16(-0.0F));
  CHECK(!static_cast<bool>(heft::boolean{0}));
  CHECK(static_cast<bool>(heft::boolean{7}));
  static_assert(sizeof(heft::bf16) == 2 && std::is_trivially_copyable_v<heft::bf16>);
}
