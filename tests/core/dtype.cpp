#include "heft/dtype.hpp"

#include <set>

#include <doctest/doctest.h>

#include "heft/error.hpp"
#include "heft/shape.hpp"

using heft::bytes_for;
using heft::DType;
using heft::Shape;

TEST_CASE("dtype: every row has a unique name that leads back to it") {
  std::set<std::string_view> names;
  for (const heft::DTypeInfo& row : heft::dtypes()) {
    CHECK(names.insert(row.name).second);
    CHECK(row.block_elements >= 1);
    CHECK(row.block_bytes >= 1);
    if (row.dtype != DType::unknown) CHECK(heft::dtype_from_name(row.name) == row.dtype);
    CHECK(&heft::info(row.dtype) == &row);
  }
  CHECK(!heft::dtype_from_name("unknown"));
  CHECK(!heft::dtype_from_name("BF16"));
  CHECK(heft::dtype_from_name("bfloat16") == DType::bf16);
}

TEST_CASE("dtype: a value outside the enumeration is unknown") {
  CHECK(heft::info(static_cast<DType>(250)).dtype == DType::unknown);
  CHECK(heft::name(DType::count_) == "unknown");
}

TEST_CASE("bytes_for: counts blocks") {
  CHECK(bytes_for(DType::bf16, {2, 3}) == 12);
  CHECK(bytes_for(DType::f32, {}) == 4);
  CHECK(bytes_for(DType::f64, {5, 0, 7}) == 0);
  CHECK(bytes_for(DType::f4_e2m1, {3, 2}) == 3);
  CHECK(bytes_for(DType::f6_e2m3, {4}) == 3);
  CHECK(bytes_for(DType::q4_0, {2, 64}) == 2 * 2 * 18);
  CHECK(bytes_for(DType::q4_k, {3, 512}) == 3 * 2 * 144);
  CHECK(bytes_for(DType::c128, {2}) == 32);
}

TEST_CASE("bytes_for: refuses a row that is not whole blocks") {
  CHECK_THROWS_AS(static_cast<void>(bytes_for(DType::f4_e2m1, {3})), heft::Error);
  CHECK_THROWS_AS(static_cast<void>(bytes_for(DType::q4_0, {32, 33})), heft::Error);
  // ggml starts blocks at rows: 4 rows of 16 elements are not 2 blocks of 32.
  CHECK_THROWS_AS(static_cast<void>(bytes_for(DType::q4_0, {4, 16})), heft::Error);
  CHECK_THROWS_AS(static_cast<void>(bytes_for(DType::q8_0, {})), heft::Error);
}

TEST_CASE("bytes_for: overflow is found on the product of the non-zero dims, wherever the zero is") {
  const std::int64_t huge = INT64_MAX;
  CHECK_THROWS_AS(static_cast<void>(bytes_for(DType::u8, {huge, 4})), heft::Error);
  CHECK_THROWS_AS(static_cast<void>(bytes_for(DType::u8, {0, huge, 4})), heft::Error);
  CHECK_THROWS_AS(static_cast<void>(bytes_for(DType::u8, {huge, 4, 0})), heft::Error);
  CHECK_THROWS_AS(static_cast<void>(bytes_for(DType::f64, {huge})), heft::Error);
  CHECK_THROWS_AS(static_cast<void>(bytes_for(DType::u8, {-1})), heft::Error);
  CHECK(bytes_for(DType::u8, {huge}) == static_cast<std::uint64_t>(huge));
}

TEST_CASE("element_bytes: only for types with whole bytes per element") {
  CHECK(heft::element_bytes(DType::f16) == 2);
  CHECK(heft::element_bytes(DType::c128) == 16);
  CHECK_THROWS_AS(static_cast<void>(heft::element_bytes(DType::q4_0)), heft::Error);
  CHECK_THROWS_AS(static_cast<void>(heft::element_bytes(DType::f4_e2m1)), heft::Error);
}
