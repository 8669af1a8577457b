#include "kernels/non_finite.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "heft/element.hpp"
#include "materialize/every_target.hpp"

namespace {

using namespace heft;
using kernels::NonFinite;

void count(NonFinite& found, bool is_nan, bool is_inf) {
  found.nan += is_nan;
  found.inf += !is_nan && is_inf;
}

template <class T>
double real_of(T value) {
  if constexpr (sizeof(T) == 2)
    return static_cast<double>(static_cast<float>(value));
  else
    return static_cast<double>(value);
}

// By the functions of <cmath>, one element after the other.
template <class T>
NonFinite expected(const std::vector<std::byte>& bytes, std::size_t first, std::size_t elements) {
  NonFinite found;
  for (std::size_t i = first; i < first + elements; ++i) {
    T value;
    std::memcpy(&value, bytes.data() + 1 + i * sizeof value, sizeof value);
    if constexpr (requires { value.imag(); })
      count(found, std::isnan(value.real()) || std::isnan(value.imag()),
            std::isinf(value.real()) || std::isinf(value.imag()));
    else
      count(found, std::isnan(real_of(value)), std::isinf(real_of(value)));
  }
  return found;
}

// The top 16 bits of an element's parts in turn: signs, both infinities, quiet and signalling NaN, the largest finite.
template <class T, std::size_t part_bytes>
void check(DType dtype, const std::vector<std::uint64_t>& special) {
  constexpr std::size_t elements = 3 * 4096 / sizeof(T) + 37;
  // One byte before the first element, so that none is aligned.
  std::vector<std::byte> bytes(1 + elements * sizeof(T));
  std::mt19937 random(7);
  for (const unsigned one_in : {1u, 2u, 50u, 1u << 30}) {
    for (std::size_t part = 0; part < elements * sizeof(T) / part_bytes; ++part) {
      const std::uint64_t bits = random() % one_in == 0 ? special[random() % special.size()] : random() % 1000;
      std::memcpy(bytes.data() + 1 + part * part_bytes, &bits, part_bytes);
    }
    for (const std::size_t first : {std::size_t{0}, std::size_t{1}, std::size_t{5}})
      for (const std::size_t some : {std::size_t{0}, std::size_t{1}, std::size_t{31}, elements / 2, elements - 5}) {
        const NonFinite wanted = expected<T>(bytes, first, some);
        test::on_every_target([&] {
          const NonFinite found = kernels::count_non_finite(dtype, bytes.data() + 1 + first * sizeof(T), some);
          CHECK(found.nan == wanted.nan);
          CHECK(found.inf == wanted.inf);
        });
        if (one_in == 1 && some > 100) CHECK(wanted.nan + wanted.inf > 0);
      }
  }
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "the low bytes of 64 bits are a part's bits");

TEST_CASE("kernels: NaN and infinities are counted as <cmath> classifies them") {
  check<f16, 2>(DType::f16, {0x7C00, 0xFC00, 0x7C01, 0xFE00, 0x7FFF, 0x7BFF, 0x8000, 0xFBFF});
  check<bf16, 2>(DType::bf16, {0x7F80, 0xFF80, 0x7F81, 0xFFC0, 0x7FFF, 0x7F7F, 0x8000, 0xFF7F});
  const std::vector<std::uint64_t> singles = {0x7F800000, 0xFF800000, 0x7F800001, 0xFFC00000, 0x7F7FFFFF, 0x80000000};
  const std::vector<std::uint64_t> doubles = {0x7FF0000000000000, 0xFFF0000000000000, 0x7FF0000000000001,
                                              0xFFF8000000000000, 0x7FEFFFFFFFFFFFFF, 0x8000000000000000};
  check<float, 4>(DType::f32, singles);
  check<double, 8>(DType::f64, doubles);
  check<std::complex<float>, 4>(DType::c64, singles);
  check<std::complex<double>, 8>(DType::c128, doubles);
}

TEST_CASE("kernels: NaN and infinities are counted for the types of numbers with an exponent") {
  for (const DType dtype : {DType::f16, DType::bf16, DType::f32, DType::f64, DType::c64, DType::c128})
    CHECK(kernels::has_non_finite_kernel(dtype));
  for (const DType dtype : {DType::i32, DType::f8_e5m2, DType::c32, DType::q4_0, DType::unknown})
    CHECK_FALSE(kernels::has_non_finite_kernel(dtype));
}
