#include "core/checked.hpp"

#include <doctest/doctest.h>

#include "heft/error.hpp"
#include "support/thrown.hpp"

using namespace heft::core;

TEST_CASE("checked: sums and products that do not fit return nothing") {
  CHECK(checked_add(1, 2) == 3);
  CHECK(!checked_add(UINT64_MAX, 1));
  CHECK(checked_mul(1ull << 32, 1ull << 31) == 1ull << 63);
  CHECK(!checked_mul(1ull << 32, 1ull << 32));
  CHECK_THROWS_AS(static_cast<void>(add_or_throw(UINT64_MAX, 1, "x")), heft::Error);
  CHECK_THROWS_AS(static_cast<void>(mul_or_throw(UINT64_MAX, 2, "x")), heft::Error);
}

TEST_CASE("checked: inside does not wrap") {
  CHECK(inside(0, 0, 0));
  CHECK(inside(3, 2, 5));
  CHECK(!inside(3, 3, 5));
  CHECK(!inside(6, 0, 5));
  CHECK(!inside(UINT64_MAX, 2, 5));
  CHECK(!inside(2, UINT64_MAX, 5));
}

TEST_CASE("checked: require_inside states the expected and the remaining bytes") {
  try {
    require_inside(90, 20, 100, "the header");
    FAIL("expected an error");
  } catch (const heft::Error& error) {
    CHECK(error.code() == heft::ErrorCode::corrupt);
    CHECK(error.message() ==
          "expected 20 bytes of the header, 10 remain: cut short by an incomplete download, or damaged");
    CHECK(error.offset() == 90);
  }
}

TEST_CASE("checked: a bound that no caller can raise is not called a limit") {
  CHECK_NOTHROW(require_format_bound(5, 5, "tar members"));
  const heft::Error error = heft::test::thrown_by([] { require_format_bound(6, 5, "tar members", 12); });
  CHECK(error.code() == heft::ErrorCode::limit_exceeded);
  CHECK(error.message() == "tar members: 6 is over the 5 that heft reads");
  CHECK(error.offset() == 12);
}

TEST_CASE("checked: require_limit names the limit, its value and the value found") {
  CHECK_NOTHROW(require_limit(5, 5, "tensors", "tensors"));
  try {
    require_limit(6, 5, "tensors in the file", "tensors");
    FAIL("expected an error");
  } catch (const heft::Error& error) {
    CHECK(error.code() == heft::ErrorCode::limit_exceeded);
    CHECK(error.message() == "tensors in the file: 6 is over Limits::tensors = 5");
  }
}

TEST_CASE("checked: align_up rounds to the next multiple and refuses to wrap") {
  CHECK(align_up(0, 64) == 0);
  CHECK(align_up(1, 64) == 64);
  CHECK(align_up(64, 64) == 64);
  CHECK_THROWS_AS(static_cast<void>(align_up(UINT64_MAX - 3, 64)), heft::Error);
}
