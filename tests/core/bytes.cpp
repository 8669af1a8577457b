#include "heft/bytes.hpp"

#include <array>

#include <doctest/doctest.h>

#include "core/allocate.hpp"
#include "heft/error.hpp"
#include "support/thrown.hpp"

using heft::Bytes;

namespace {
Bytes five() {
  const std::array<std::byte, 5> bytes{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}};
  return Bytes::copy_of(bytes);
}
}  // namespace

TEST_CASE("bytes: a subrange keeps the owner alive") {
  Bytes part;
  {
    const Bytes whole = five();
    part = whole.subrange(2, 3);
    CHECK(part.owner() == whole.owner());
  }
  CHECK(part.span()[0] == std::byte{3});
  CHECK(part.owner().use_count() == 1);
}

TEST_CASE("bytes: a range that ends outside is an error, never clamped") {
  const Bytes whole = five();
  CHECK(whole.subrange(5, 0).empty());
  CHECK_THROWS_AS(static_cast<void>(whole.subrange(5, 1)), heft::Error);
  CHECK_THROWS_AS(static_cast<void>(whole.subrange(6, 0)), heft::Error);
  CHECK_THROWS_AS(static_cast<void>(whole.subrange(1, UINT64_MAX)), heft::Error);
  CHECK_THROWS_AS(static_cast<void>(whole.subrange(UINT64_MAX, 2)), heft::Error);
}

TEST_CASE("bytes: empty bytes have no owner and can be cut to an empty range") {
  CHECK(Bytes::copy_of({}).empty());
  CHECK(Bytes{}.subrange(0, 0).empty());
}

TEST_CASE("allocate_bytes: memory is at a multiple of the alignment, and an Error names purpose and path") {
  constexpr std::size_t alignment = 2u << 20;
  const auto memory = heft::core::allocate_bytes(3, "to test", {}, alignment);
  CHECK(reinterpret_cast<std::uintptr_t>(memory.get()) % alignment == 0);
  // A size above 2^63 fails before an allocator is called.
  const heft::Error error = heft::test::thrown_by(
      [] { static_cast<void>(heft::core::allocate_bytes(UINT64_MAX, "to test", {.path = "a.bin"})); });
  CHECK(error.code() == heft::ErrorCode::out_of_memory);
  CHECK(std::string(error.what()) == "a.bin: could not allocate 18446744073709551615 bytes to test");
}
