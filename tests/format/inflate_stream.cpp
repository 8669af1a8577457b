#include "format/archive/inflate_stream.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "heft/error.hpp"
#include "support/catalog_checks.hpp"
#include "support/thrown.hpp"
#include "support/zip_builder.hpp"

using namespace heft;
using namespace heft::format;

namespace {

// Bytes that deflate a little, of which no two stretches are the same.
std::string content(std::size_t size) {
  std::string bytes(size, '\0');
  std::mt19937 random(7);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(random() % 23 + i / 65536);
  return bytes;
}

struct Packed {
  explicit Packed(const std::string& whole, const std::string& deflated_bytes)
      : input(test::exact_bytes("head" + deflated_bytes + "tail")) {
    member.begin = 4;
    member.size = deflated_bytes.size();
    member.full_size = whole.size();
    member.crc32 = test::zip_crc32(whole);
  }
  explicit Packed(const std::string& whole) : Packed(whole, test::deflated(whole)) {}

  core::MemoryInput input;
  Member member;
};

std::string read(InflateStream& stream, std::uint64_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  stream.read(offset, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

Error refusal(const Packed& packed) {
  InflateStream stream(packed.input, packed.member, "it");
  return test::thrown_by([&] { stream.finish(); });
}

}  // namespace

TEST_CASE("inflate stream: reads parts of any size, and checks them at the end") {
  const std::string whole = content(300'000);
  const Packed packed(whole);
  for (const std::size_t part : {std::size_t{1000}, std::size_t{4096}, std::size_t{65'537}, std::size_t{300'000}}) {
    InflateStream stream(packed.input, packed.member, "it");
    std::string bytes;
    while (bytes.size() < whole.size())
      bytes += read(stream, bytes.size(), std::min(part, whole.size() - bytes.size()));
    CHECK(bytes == whole);
    CHECK_NOTHROW(stream.finish());
    CHECK(stream.restarts() == 0);
  }
  InflateStream stream(packed.input, packed.member, "it");
  for (std::size_t i = 0; i < 2000; ++i) CHECK(read(stream, i, 1)[0] == whole[i]);
}

TEST_CASE("inflate stream: a step back starts again, a step forward skips bytes") {
  const std::string whole = content(200'000);
  const Packed packed(whole);
  InflateStream stream(packed.input, packed.member, "it");
  CHECK(read(stream, 150'000, 10) == whole.substr(150'000, 10));
  CHECK(read(stream, 10, 20) == whole.substr(10, 20));
  CHECK(read(stream, 30, 20) == whole.substr(30, 20));
  CHECK(stream.restarts() == 1);
  CHECK_NOTHROW(stream.finish());
  CHECK(test::thrown_by([&] { read(stream, 199'999, 2); }).code() == ErrorCode::corrupt);
}

TEST_CASE("inflate stream: resumes at points, in every stream that shares them") {
  const std::string whole = content(40'000'000);
  Packed packed(whole);
  packed.member.points = std::make_shared<InflatePoints>(packed.member.full_size);
  InflateStream first(packed.input, packed.member, "it");
  first.finish();
  const std::uint64_t bytes = packed.member.points->table_bytes();
  CHECK(bytes > 0);
  CHECK(bytes < 1'000'000);
  InflateStream second(packed.input, packed.member, "it");
  for (const std::uint64_t offset : {39'000'000, 5, 20'000'000, 19'999'000, 30'000'000, 0}) {
    CHECK(read(second, offset, 5000) == whole.substr(offset, 5000));
    CHECK(read(first, offset, 50) == whole.substr(offset, 50));
  }
  CHECK_NOTHROW(second.finish());
  CHECK(packed.member.points->table_bytes() == bytes);
}

TEST_CASE("inflate stream: a size or checksum other than declared is corrupt") {
  const std::string whole = content(100'000);
  const std::string deflated = test::deflated(whole);
  const auto words = [](const Packed& packed) {
    const Error error = refusal(packed);
    CHECK(error.code() == ErrorCode::corrupt);
    return error.message();
  };
  Packed longer(whole);
  ++longer.member.full_size;
  CHECK(words(longer).find("expected 100001 inflated bytes, the deflate stream holds 100000") != std::string::npos);
  Packed shorter(whole);
  --shorter.member.full_size;
  CHECK(words(shorter).find("holds more") != std::string::npos);
  Packed other(whole);
  other.member.crc32 ^= 1;
  CHECK(words(other).find("checksum") != std::string::npos);
  CHECK(words(Packed(whole, deflated + "x")).find("ends after") != std::string::npos);
  CHECK(words(Packed(whole, deflated.substr(0, deflated.size() - 1))).find("it: ") != std::string::npos);
  CHECK(words(Packed(whole, deflated.substr(0, 1000))).find("it: ") != std::string::npos);
  CHECK(words(Packed(whole, "\x07" + deflated)).find("malformed") != std::string::npos);
  const core::MemoryInput nothing(test::exact_bytes(""));
  InflateStream empty(nothing, {}, "it");
  CHECK(test::thrown_by([&] { empty.finish(); }).code() == ErrorCode::corrupt);
}

TEST_CASE("inflate stream: every flipped bit is refused, or changes nothing") {
  const std::string whole = content(300);
  const std::string deflated = test::deflated(whole);
  for (std::size_t bit = 0; bit < 8 * deflated.size(); ++bit) {
    std::string flipped = deflated;
    flipped[bit / 8] ^= static_cast<char>(1u << bit % 8);
    const Packed packed(whole, flipped);
    InflateStream stream(packed.input, packed.member, "it");
    try {
      const std::string found = read(stream, 0, whole.size());
      stream.finish();
      CHECK(found == whole);
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::corrupt);
    }
  }
}

TEST_CASE("inflated input: steps back over heads are free, many long ones are refused") {
  const std::string whole = content(5'000'000);
  const Packed packed(whole);
  const InflatedInput input(packed.input, packed.member, "it");
  const auto at = [&](std::uint64_t offset) {
    const Bytes byte = input.read(offset, 1);
    return static_cast<char>(byte.span()[0]);
  };
  for (std::size_t i = 0; i < 200; ++i) {
    CHECK(at(3'000'000 + i * 1000) == whole[3'000'000 + i * 1000]);
    CHECK(at(3'000'000 + i * 900) == whole[3'000'000 + i * 900]);
  }
  const Error error = test::thrown_by([&] {
    for (int i = 0; i < 100; ++i) static_cast<void>(at(i % 2 == 0 ? 4'000'000 : 0));
  });
  CHECK(error.code() == ErrorCode::unsupported);
}
