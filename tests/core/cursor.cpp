#include "core/cursor.hpp"

#include <string>

#include <doctest/doctest.h>

#include "heft/error.hpp"

using heft::Bytes;
using heft::core::Cursor;
using heft::core::MemoryInput;

namespace {

// An Input that copies, as a file does, and counts its reads and their bytes.
class CountingInput final : public heft::core::Input {
 public:
  explicit CountingInput(std::string text) : text_(std::move(text)) {}
  std::uint64_t size_bytes() const noexcept override { return text_.size(); }
  Bytes read(std::uint64_t offset, std::uint64_t size) const override {
    ++reads;
    bytes += size;
    return Bytes::copy_of(std::as_bytes(std::span(text_)).subspan(offset, size));
  }
  mutable std::size_t reads = 0;
  mutable std::uint64_t bytes = 0;

 private:
  std::string text_;
};

std::string numbered(std::size_t count) {
  std::string text(count, '\0');
  for (std::size_t i = 0; i < count; ++i) text[i] = static_cast<char>('a' + i % 26);
  return text;
}

}  // namespace

TEST_CASE("cursor: numbers in both byte orders, offset and remaining follow") {
  const CountingInput input(std::string("\x01\x02\x03\x04\x05\x06\x07\x08\x09", 9));
  Cursor cursor(input);
  CHECK(cursor.u8("a") == 1);
  CHECK(cursor.little<std::uint16_t>("b") == 0x0302);
  CHECK(cursor.big<std::uint32_t>("c") == 0x04050607);
  CHECK(cursor.offset() == 7);
  CHECK(cursor.remaining() == 2);
  CHECK_THROWS_AS(cursor.little<std::uint32_t>("d"), heft::Error);
  CHECK(cursor.offset() == 7);  // a failed read does not advance
}

TEST_CASE("cursor: spans from earlier chunks stay valid after release, across every chunk border") {
  const std::string text = numbered(1000);
  const CountingInput input(text);
  for (const std::uint64_t chunk : {1u, 7u, 64u, 5000u}) {
    std::vector<std::string_view> parts;
    std::vector<Bytes> kept;
    {
      Cursor cursor(input, 0, text.size(), chunk);
      while (cursor.remaining() > 0)
        parts.push_back(cursor.text(std::min<std::uint64_t>(13, cursor.remaining()), "part"));
      kept = cursor.release();
    }
    std::string joined;
    for (const std::string_view part : parts) joined += part;
    CHECK(joined == text);
  }
}

TEST_CASE("cursor: small steps share reads") {
  const CountingInput input(numbered(100'000));
  Cursor cursor(input, 0, 100'000, 10'000);
  for (int i = 0; i < 100'000; ++i) cursor.u8("byte");
  CHECK(input.reads == 4);  // of 10, 20, 40 and 30 thousand bytes: chunks grow
  CHECK(input.bytes == 100'000);
}

TEST_CASE("cursor: a declared length past the end is refused before anything is read") {
  const CountingInput input(numbered(10));
  Cursor cursor(input);
  CHECK_THROWS_AS(cursor.take(UINT64_MAX, "payload"), heft::Error);
  CHECK_THROWS_AS(cursor.skip(11, "payload"), heft::Error);
  CHECK(input.reads == 0);
}

TEST_CASE("cursor: skip passes over bytes without reading them") {
  const CountingInput input(numbered(1'000'000));
  Cursor cursor(input, 0, 1'000'000, 16);
  cursor.u8("first");
  cursor.skip(999'990, "payload");
  CHECK(cursor.text(9, "tail").size() == 9);
  CHECK(cursor.remaining() == 0);
  CHECK(input.bytes <= 16 + 9);
}

TEST_CASE("cursor: a region ends at its declared end") {
  const CountingInput input(numbered(100));
  Cursor cursor(input, 10, 20);
  CHECK(cursor.text(10, "region") == "klmnopqrst");
  CHECK_THROWS_AS(cursor.u8("past the end"), heft::Error);
  CHECK_THROWS_AS(Cursor(input, 20, 10), heft::Error);
  CHECK_THROWS_AS(Cursor(input, 0, 101), heft::Error);
}

TEST_CASE("cursor: lines, short and longer than a chunk, and one without an end") {
  const std::string text = "ab\n" + std::string(1000, 'x') + "\n\nrest";
  for (const std::uint64_t chunk : {1u, 5u, 4096u}) {
    const CountingInput input(text);
    Cursor cursor(input, 0, text.size(), chunk);
    CHECK(cursor.line(10, "name") == "ab");
    CHECK_THROWS_AS(cursor.line(999, "name"), heft::Error);
    CHECK(cursor.line(1000, "name") == std::string(1000, 'x'));
    CHECK(cursor.line(10, "name").empty());
    CHECK_THROWS_AS(cursor.line(10, "name"), heft::Error);
    CHECK(cursor.text(4, "rest") == "rest");
    CHECK_THROWS_AS(cursor.line(10, "name"), heft::Error);
  }
}

TEST_CASE("cursor: memory is not copied") {
  const std::string text = numbered(100);
  const Bytes bytes({reinterpret_cast<const std::byte*>(text.data()), text.size()}, nullptr);
  const MemoryInput input(bytes);
  Cursor cursor(input);
  CHECK(cursor.take(50, "half").data() == bytes.span().data());
  CHECK_THROWS_AS(static_cast<void>(input.read(99, 2)), heft::Error);
}
