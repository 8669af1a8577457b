#include "format/msgpack/numbers.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "core/endian.hpp"
#include "core/gather_run.hpp"
#include "format/msgpack/number_lists.hpp"
#include "heft/error.hpp"
#include "support/pack_builder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using namespace heft::format;
using test::pack::sized;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// Every way to spell an unsigned integer of at most 16 bits, the shortest first.
std::string natural(std::uint32_t value, unsigned way) {
  if (way == 0 && value < 128) return std::string(1, static_cast<char>(value));
  if (way <= 1 && value < 256) return sized("\xCC", value, 1);
  if (way <= 2) return sized("\xCD", value, 2);
  return way == 3 ? sized("\xCE", value, 4) : sized("\xCF", value, 8);
}

std::string natural(std::uint32_t value) { return natural(value, 0); }

struct Stepped {
  NumberSteps steps;
  std::size_t used = 0;
  bool met_other = false;
};

/// Steps over `file` from `begin` in parts of `part` bytes and of what a number needs.
Stepped step(const std::string& file, std::uint64_t begin, std::uint64_t count, std::size_t part) {
  NumberStepper stepper(begin, count);
  std::size_t at = begin;
  std::size_t size = part;
  while (!stepper.is_done() && !stepper.met_other() && at < file.size()) {
    const std::size_t used = stepper.feed(bytes_of(file).subspan(at, std::min(size, file.size() - at)));
    if (used == 0 && at + size >= file.size()) break;
    size = used == 0 ? size + 1 : part;
    at += used;
  }
  const bool met_other = stepper.met_other();
  return {stepper.release(), at - begin, met_other};
}

/// Numbers of random widths, and what they are.
std::string random_halves(std::size_t count, std::vector<std::uint16_t>& values, unsigned seed) {
  std::mt19937 random(seed);
  std::string file;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(static_cast<std::uint16_t>(random() >> (16 + random() % 3 * 5)));
    file += natural(values.back());
  }
  return file;
}

}  // namespace

TEST_CASE("pack numbers: a list of one width needs no marks, in any parts") {
  for (const std::size_t part : {std::size_t{1}, std::size_t{7}, std::size_t{64}, std::size_t{1} << 20}) {
    std::string file = "xyz";
    for (int i = 0; i < 20'000; ++i) file += test::pack::real32(static_cast<float>(i));
    const Stepped done = step(file + "tail", 3, 20'000, part);
    CHECK(done.steps.stride == 5);
    CHECK(done.steps.marks.empty());
    CHECK(done.steps.kind == NumberKind::real32);
    CHECK(done.steps.begin == 3);
    CHECK(done.steps.end == file.size());
  }
}

TEST_CASE(
    "pack numbers: a list of several widths has marks that lead to its numbers, from where widths first differ or "
    "not") {
  for (const std::size_t first :
       {std::size_t{0}, std::size_t{1}, std::size_t{4095}, std::size_t{4096}, std::size_t{9000}})
    for (const std::size_t part : {std::size_t{13}, std::size_t{4096}, std::size_t{1} << 20}) {
      CAPTURE(first);
      CAPTURE(part);
      std::string file;
      for (std::size_t i = 0; i < 10'000; ++i) file += natural(i == first ? 5 : 40'000);
      const Stepped done = step(file, 0, 10'000, part);
      REQUIRE(done.steps.stride == 0);
      REQUIRE(done.steps.marks.size() == 3);
      for (std::size_t mark = 0; mark < 3; ++mark) {
        const std::uint64_t number = mark * NumberSteps::mark_step;
        CHECK(done.steps.marks[mark] == number * 3 - (number > first ? 2 : 0));
      }
      CHECK(done.steps.end == file.size());
    }
}

TEST_CASE("pack numbers: marks of numbers of random widths are their offsets, in any parts, before any item") {
  std::vector<std::uint16_t> values;
  std::string file = random_halves(20'000, values, 7);
  std::vector<std::uint64_t> offsets{0};
  for (const std::uint16_t value : values) offsets.push_back(offsets.back() + natural(value).size());
  REQUIRE(offsets.back() == file.size());
  for (const std::string& tail : {std::string(), std::string("\xC0"), std::string("\xCD\x01")})
    for (const std::size_t part : {std::size_t{1}, std::size_t{47}, std::size_t{4096}, std::size_t{1} << 20}) {
      CAPTURE(part);
      const Stepped done = step(file + tail, 0, values.size() + (tail.empty() ? 0 : 1), part);
      CHECK(done.used == file.size());
      CHECK(done.met_other == (tail == "\xC0"));
      CHECK(done.steps.kind == NumberKind::unsigned_integer);
      CHECK(done.steps.fits_u16);
      REQUIRE(done.steps.marks.size() == 5);
      for (std::size_t mark = 0; mark < 5; ++mark)
        CHECK(done.steps.marks[mark] == offsets[mark * NumberSteps::mark_step]);
    }
}

TEST_CASE("pack numbers: finds other items, and numbers of another kind, at their byte") {
  const std::string reals = test::pack::real32(1) + test::pack::real32(2);
  CHECK(step(reals + test::pack::text("x"), 0, 3, 1 << 20).met_other);
  CHECK(step(reals + test::pack::text("x"), 0, 3, 1 << 20).used == reals.size());
  const Stepped mixed = step(reals + natural(3) + test::pack::real32(2), 0, 4, 1 << 20);
  CHECK_FALSE(mixed.met_other);
  CHECK(mixed.steps.odd == reals.size());
  CHECK(mixed.steps.odd_kind == NumberKind::unsigned_integer);
  // A number that is cut off is not stepped over.
  CHECK(step(reals.substr(0, 9), 0, 2, 1 << 20).used == 5);
}

TEST_CASE("pack numbers: detects halves by their values, in any encoding") {
  const auto fits = [](const std::string& file, std::uint64_t count) {
    return step(file, 0, count, 1 << 20).steps.fits_u16;
  };
  CHECK(fits(natural(65535, 4) + natural(0, 3) + natural(9, 2) + natural(1), 4));
  CHECK(fits(sized("\xD3", 65535, 8) + sized("\xD0", 5, 1), 2));
  CHECK_FALSE(fits(natural(1) + sized("\xCE", 65536, 4), 2));
  CHECK_FALSE(fits(natural(1) + sized("\xCE", 3, 4) + sized("\xCE", 65536, 4), 3));
  CHECK_FALSE(fits(natural(1) + sized("\xD1", 0xFFFF, 2), 2));
  CHECK_FALSE(fits(natural(1) + "\xFF", 2));
}

TEST_CASE("pack numbers: runs of heads end where a head differs, at every place") {
  for (const auto& [number, other] :
       {std::pair{sized("\xCA", 0xCACACACA, 4), std::string("\xCB")},
        std::pair{sized("\xCD", 0xCDCD, 2), std::string("\xCC")}, std::pair{sized("\xCB", 0, 8), std::string("\xCA")},
        std::pair{sized("\xCC", 0xCC, 1), std::string("\x01")}, std::pair{std::string("\x05"), std::string("\xCC")}}) {
    std::string file;
    for (int i = 0; i < 100; ++i) file += number;
    CHECK(run_of_heads(bytes_of(file).data(), 100) == 100);
    for (std::size_t place = 1; place < 100; ++place) {
      std::string broken = file;
      broken[place * number.size()] = other[0];
      CHECK(run_of_heads(bytes_of(broken).data(), 100) == place);
    }
  }
}

TEST_CASE("pack numbers: numbers of every width are gathered into every type that holds them") {
  for (unsigned way = 0; way <= 4; ++way) {
    std::string file;
    std::vector<std::uint32_t> values;
    for (std::uint32_t value = 0; value < 128; ++value) {
      values.push_back(value);
      file += natural(value, way);
    }
    for (const DType dtype : {DType::u8, DType::i8, DType::u16, DType::i16, DType::f16, DType::bf16, DType::u32,
                              DType::i32, DType::u64, DType::i64}) {
      const std::size_t width = info(dtype).block_bytes;
      std::vector<std::byte> made(values.size() * width);
      const Gathered done = gather_numbers(dtype, bytes_of(file), 0, made.data(), values.size(), core::gather_run);
      CHECK(done.numbers == values.size());
      CHECK(done.used == file.size());
      for (const std::uint32_t value : values) {
        std::uint64_t found = 0;
        std::memcpy(&found, made.data() + value * width, width);
        CHECK(found == value);
      }
    }
  }
}

TEST_CASE("pack numbers: an integer that does not fit is corrupt, another kind is a changed file, each at its byte") {
  std::uint64_t room[4];
  const auto gather = [&](DType dtype, const std::string& file, std::uint64_t count) {
    return gather_numbers(dtype, bytes_of(file), 1000, reinterpret_cast<std::byte*>(room), count, core::gather_run);
  };
  const auto refused = [&](DType dtype, const std::string& file, std::uint64_t count) {
    return test::thrown_by([&] { return gather(dtype, file, count); });
  };
  const Error wide = refused(DType::f16, natural(1) + natural(65536, 3), 2);
  CHECK(wide.code() == ErrorCode::corrupt);
  CHECK(wide.offset() == 1001);
  CHECK(refused(DType::u8, std::string("\xFF"), 1).code() == ErrorCode::corrupt);
  CHECK(refused(DType::i8, sized("\xD1", 0xFF7F, 2), 1).code() == ErrorCode::corrupt);
  CHECK(refused(DType::i64, sized("\xCF", UINT64_MAX, 8), 1).code() == ErrorCode::corrupt);
  CHECK(gather(DType::u64, sized("\xCF", UINT64_MAX, 8), 1).numbers == 1);
  CHECK(gather(DType::i8, std::string("\xFF") + sized("\xD0", 0x80, 1), 2).numbers == 2);
  const Error kind = refused(DType::f32, test::pack::real32(1) + test::pack::real64(1), 2);
  CHECK(kind.code() == ErrorCode::changed_on_disk);
  CHECK(kind.offset() == 1005);
}

TEST_CASE("pack numbers: the steps and the gathered values of random lists agree") {
  for (unsigned seed = 0; seed < 8; ++seed) {
    std::vector<std::uint16_t> values;
    const std::string file = random_halves(9000, values, seed);
    NumberLists lists;
    const NumberList& list = lists.add(step(file, 0, values.size(), 777).steps, DType::u16);
    for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4096}, std::uint64_t{8999}}) {
      const NumberPlace place = place_before(list, number);
      CHECK(place.number <= number);
      CHECK_NOTHROW(require_place(run_of(list, number), place));
      std::vector<std::uint16_t> made(values.size() - place.number);
      gather_numbers(DType::u16, bytes_of(file).subspan(place.offset), place.offset,
                     reinterpret_cast<std::byte*>(made.data()), made.size(), core::gather_run);
      CHECK(std::equal(made.begin(), made.end(), values.begin() + static_cast<std::ptrdiff_t>(place.number)));
    }
    CHECK(test::thrown_by([&] { require_place(run_of(list, 4096), {4096, 1}); }).code() == ErrorCode::changed_on_disk);
  }
}
