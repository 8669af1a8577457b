#include "kernels/kernels.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "heft/element.hpp"
#include "materialize/every_target.hpp"

namespace {

using namespace heft;
using kernels::Store;

constexpr DType narrow_types[] = {DType::f16,         DType::bf16,        DType::f8_e4m3, DType::f8_e5m2,
                                  DType::f8_e4m3fnuz, DType::f8_e5m2fnuz, DType::f8_e8m0};

float widened(DType type, std::uint32_t code) {
  if (type == DType::f16) return f16_to_f32(static_cast<std::uint16_t>(code));
  if (type == DType::bf16) return bf16_to_f32(static_cast<std::uint16_t>(code));
  return f8_to_f32(type, static_cast<std::uint8_t>(code));
}

std::uint32_t narrowed(DType type, float value) {
  if (type == DType::f16) return f32_to_f16(value);
  if (type == DType::bf16) return f32_to_bf16(value);
  return f32_to_f8(type, value);
}

std::uint32_t code_at(DType type, const std::vector<std::byte>& codes, std::size_t index) {
  const std::size_t width = info(type).block_bytes;
  std::uint32_t code = 0;
  std::memcpy(&code, codes.data() + index * width, width);
  return code;
}

bool same_value(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

// Every code of the type, in order.
std::vector<std::byte> all_codes(DType type) {
  const std::size_t width = info(type).block_bytes;
  std::vector<std::byte> codes(width << (8 * width));
  for (std::uint32_t code = 0; code < codes.size() / width; ++code)
    std::memcpy(codes.data() + code * width, &code, width);
  return codes;
}

// Values that are hard to round: every value of the type, the middles between neighbours, and the floats just beside
// them; and random bits.
std::vector<float> hard_values(DType type) {
  std::vector<float> values = {0.0F,
                               -0.0F,
                               INFINITY,
                               -INFINITY,
                               NAN,
                               -NAN,
                               1e-45F,
                               -1e-45F,
                               3.4e38F,
                               -3.4e38F,
                               std::bit_cast<float>(0x7F800001u)};
  const std::uint32_t codes = 1u << (8 * info(type).block_bytes);
  for (std::uint32_t code = 0; code < codes; ++code) {
    const float value = widened(type, code);
    const float middle =
        static_cast<float>((static_cast<double>(value) + static_cast<double>(widened(type, (code + 1) % codes))) / 2);
    for (const float near : {value, middle}) {
      const auto bits = std::bit_cast<std::uint32_t>(near);
      for (const std::uint32_t beside : {bits - 1, bits, bits + 1}) values.push_back(std::bit_cast<float>(beside));
    }
  }
  std::mt19937 random(7);
  for (int i = 0; i < 200'000; ++i) values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random())));
  return values;
}

}  // namespace

TEST_CASE("kernels: every code of every narrow type widens to the value that element.hpp gives") {
  test::on_every_target([] {
    for (const DType type : narrow_types) {
      const std::vector<std::byte> codes = all_codes(type);
      const std::size_t count = codes.size() / info(type).block_bytes;
      for (const Store store : {Store::cached, Store::streaming}) {
        std::vector<float> floats(count);
        kernels::widen_run(type, codes.data(), reinterpret_cast<std::byte*>(floats.data()), count, store);
        std::size_t wrong = 0;
        for (std::uint32_t code = 0; code < count; ++code) wrong += !same_value(floats[code], widened(type, code));
        INFO(name(type));
        CHECK(wrong == 0);
      }
    }
  });
}

TEST_CASE("kernels: values, middles between values and random floats narrow to the code that element.hpp gives") {
  for (const DType type : narrow_types) {
    const std::vector<float> values = hard_values(type);
    std::vector<std::uint32_t> expected;
    for (const float value : values) expected.push_back(narrowed(type, value));
    test::on_every_target([&] {
      for (const Store store : {Store::cached, Store::streaming}) {
        std::vector<std::byte> codes(values.size() * info(type).block_bytes);
        kernels::narrow_run(type, reinterpret_cast<const std::byte*>(values.data()), codes.data(), values.size(),
                            store);
        INFO(name(type));
        for (std::size_t i = 0; i < values.size(); ++i) {
          const std::uint32_t code = code_at(type, codes, i);
          const bool both_nan = std::isnan(widened(type, expected[i])) && std::isnan(widened(type, code));
          if (code == expected[i] || both_nan) continue;
          INFO("value ", values[i], " bits ", std::bit_cast<std::uint32_t>(values[i]));
          REQUIRE(code == expected[i]);
        }
      }
    });
  }
}

TEST_CASE("kernels: every code of every narrow type becomes the f16 and the bf16 that element.hpp gives") {
  for (const DType from : narrow_types)
    for (const DType to : {DType::f16, DType::bf16}) {
      const std::vector<std::byte> codes = all_codes(from);
      const std::size_t count = codes.size() / info(from).block_bytes;
      INFO(name(from), " to ", name(to));
      test::on_every_target([&] {
        for (const Store store : {Store::cached, Store::streaming}) {
          std::vector<std::byte> recoded(count * 2);
          kernels::recode_run(from, to, codes.data(), recoded.data(), count, store);
          std::size_t wrong = 0;
          for (std::uint32_t code = 0; code < count; ++code) {
            const float expected = widened(to, narrowed(to, widened(from, code)));
            wrong += !same_value(widened(to, code_at(to, recoded, code)), expected);
          }
          CHECK(wrong == 0);
        }
      });
    }
}

TEST_CASE("kernels: recoded runs of any length at any alignment are exact, and nothing beside them is written") {
  const std::vector<std::byte> codes = all_codes(DType::f8_e4m3);
  const auto check = [&](DType to, Store store, std::size_t lead, std::size_t count) {
    std::vector<std::byte> target(2 * count + lead + 64, std::byte{0x5A});
    kernels::recode_run(DType::f8_e4m3, to, codes.data() + 1, target.data() + lead, count, store);
    for (std::size_t i = 0; i < count; ++i) {
      std::uint16_t code;
      std::memcpy(&code, target.data() + lead + 2 * i, 2);
      REQUIRE(same_value(widened(to, code), widened(DType::f8_e4m3, static_cast<std::uint32_t>(i + 1))));
    }
    const auto untouched = [](std::byte b) { return b == std::byte{0x5A}; };
    const auto end = target.begin() + static_cast<std::ptrdiff_t>(2 * count + lead);
    CHECK(std::all_of(target.begin(), target.begin() + static_cast<std::ptrdiff_t>(lead), untouched));
    CHECK(std::all_of(end, target.end(), untouched));
  };
  test::on_every_target([&] {
    for (const std::size_t lead : {0, 1, 2, 6})
      for (std::size_t count = 0; count < 200; ++count)
        for (const Store store : {Store::cached, Store::streaming})
          for (const DType to : {DType::f16, DType::bf16}) check(to, store, lead, count);
  });
}

TEST_CASE("kernels: runs of any length at any alignment are exact, and nothing beside them is written") {
  std::vector<std::byte> source(4 * 300);
  std::mt19937 random(11);
  std::generate(source.begin(), source.end(), [&] { return std::byte(random()); });
  test::on_every_target([&] {
    for (const std::size_t count : {0, 1, 3, 7, 8, 15, 33, 64, 250})
      for (const std::size_t shift : {0, 1, 4, 12, 60})
        for (const Store store : {Store::cached, Store::streaming}) {
          std::vector<std::byte> target(2048, std::byte{0x5A});
          std::byte* at = target.data() + 128 + shift;
          kernels::widen_run(DType::bf16, source.data() + 1, at, count, store);
          for (std::size_t i = 0; i < count; ++i) {
            std::uint16_t code;
            float value;
            std::memcpy(&code, source.data() + 1 + 2 * i, 2);
            std::memcpy(&value, at + 4 * i, 4);
            REQUIRE(same_value(value, bf16_to_f32(code)));
          }
          CHECK(std::count(target.data(), at, std::byte{0x5A}) == at - target.data());
          CHECK(at[4 * count] == std::byte{0x5A});
          CHECK(std::all_of(at + 4 * count, target.data() + target.size(),
                            [](std::byte b) { return b == std::byte{0x5A}; }));
        }
  });
}

TEST_CASE("kernels: copies of any length and alignment are exact, streaming or not") {
  std::vector<std::byte> source(100'000);
  std::mt19937 random(13);
  std::generate(source.begin(), source.end(), [&] { return std::byte(random()); });
  test::on_every_target([&] {
    for (const std::size_t size : {0, 1, 63, 64, 4095, 4096, 4097, 8191, 65'536, 99'000})
      for (const std::size_t shift : {0, 1, 31, 63})
        for (const Store store : {Store::cached, Store::streaming}) {
          std::vector<std::byte> target(size + 200, std::byte{0x5A});
          kernels::copy_run(source.data() + shift, target.data() + 64 - shift, size, store);
          CHECK(std::memcmp(target.data() + 64 - shift, source.data() + shift, size) == 0);
          CHECK(target[64 - shift + size] == std::byte{0x5A});
          CHECK(target[63 - shift] == std::byte{0x5A});
        }
  });
}

TEST_CASE("kernels: a byte swap reverses the bytes of each element") {
  std::vector<std::byte> source(8 * 100);
  for (std::size_t i = 0; i < source.size(); ++i) source[i] = std::byte(i * 7);
  test::on_every_target([&] {
    for (const std::size_t width : {1, 2, 4, 8})
      for (const std::size_t count : {0, 1, 5, 16, 99}) {
        std::vector<std::byte> target(width * count);
        kernels::swap_run(width, source.data(), target.data(), count);
        std::vector<std::byte> expected(source.begin(), source.begin() + static_cast<std::ptrdiff_t>(width * count));
        for (std::size_t i = 0; i < count; ++i)
          std::reverse(expected.begin() + static_cast<std::ptrdiff_t>(i * width),
                       expected.begin() + static_cast<std::ptrdiff_t>((i + 1) * width));
        CHECK(target == expected);
      }
  });
}

TEST_CASE("kernels: a transposed block has rows for columns, whatever its edges, streamed or not") {
  constexpr std::size_t pitch = 1000;
  constexpr std::size_t line = 64;
  std::vector<std::byte> source(130 * pitch);
  for (std::size_t i = 0; i < source.size(); ++i) source[i] = std::byte(i * 31 >> 3);
  const auto check = [&](std::size_t width, std::size_t rows, std::size_t columns, std::size_t to_pitch,
                         kernels::Store store) {
    std::vector<std::byte> memory(columns * to_pitch + line, std::byte{0x5A});
    const std::size_t into_line = reinterpret_cast<std::uintptr_t>(memory.data()) % line;
    const std::span<std::byte> target = std::span(memory).subspan((line - into_line) % line, columns * to_pitch);
    kernels::transpose_block(width, source.data() + 1, pitch, target.data(), to_pitch, rows, columns, store);
    kernels::finish_stores(store);
    std::vector<std::byte> expected(columns * to_pitch, std::byte{0x5A});
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < columns; ++c)
        std::copy_n(source.data() + 1 + r * pitch + c * width, width, expected.data() + c * to_pitch + r * width);
    CHECK(std::ranges::equal(target, expected));
  };
  test::on_every_target([&] {
    for (const std::size_t width : {1, 2, 4, 8})
      for (const std::size_t rows : {1, 4, 16, 37, 64, 129})
        for (const std::size_t columns : {1, 8, 17, 64, 97})
          for (const kernels::Store store : {kernels::Store::cached, kernels::Store::streaming}) {
            check(width, rows, columns, rows * width + 3, store);
            check(width, rows, columns, (rows * width + line - 1) / line * line, store);
          }
  });
}
