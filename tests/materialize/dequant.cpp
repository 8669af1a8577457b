#include "kernels/dequant.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "format/formats.hpp"
#include "heft/element.hpp"
#include "kernels/dequant_scalar.hpp"
#include "kernels/dequant_simd.hpp"
#include "materialize/every_target.hpp"
#include "support/catalog_checks.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

using namespace heft;

namespace {

using Decode = void (*)(DType, const std::byte*, std::size_t, float*) noexcept;

std::vector<float> decoded(Decode decode, DType dtype, std::string_view blocks) {
  const DTypeInfo& row = info(dtype);
  const std::size_t count = blocks.size() / row.block_bytes;
  std::vector<float> out(count * row.block_elements + 1, 12345.0f);  // one more, that must stay as it is
  decode(dtype, reinterpret_cast<const std::byte*>(blocks.data()), count, out.data());
  CHECK(out.back() == 12345.0f);
  out.pop_back();
  return out;
}

std::vector<DType> block_types() {
  std::vector<DType> types;
  for (const DTypeInfo& row : dtypes())
    if (row.category == DTypeCategory::block) types.push_back(row.dtype);
  return types;
}

/// Bits, with all NaNs made one: which NaN a product of NaNs gives is the processor's choice.
std::uint32_t comparable(float value) { return std::isnan(value) ? 0x7FC00000u : std::bit_cast<std::uint32_t>(value); }

/// FNV-1a over the bits of all values.
std::uint64_t digest(const std::vector<float>& values) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const float value : values) hash = (hash ^ comparable(value)) * 0x100000001B3u;
  return hash;
}

void check_equal(const std::vector<float>& values, const std::vector<float>& expected) {
  REQUIRE(values.size() == expected.size());
  std::size_t differ = 0;
  for (std::size_t i = 0; i < values.size(); ++i) differ += comparable(values[i]) != comparable(expected[i]);
  CHECK(differ == 0);
}

std::vector<float> npy_floats(const std::filesystem::path& path, std::size_t count) {
  const std::string bytes = test::content_of(path);
  REQUIRE(bytes.size() >= 4 * count);
  std::vector<float> values(count);
  std::memcpy(values.data(), bytes.data() + bytes.size() - 4 * count, 4 * count);
  return values;
}

}  // namespace

TEST_CASE("dequant: every block type can be decoded, and no other") {
  for (const DTypeInfo& row : dtypes()) {
    CAPTURE(row.name);
    CHECK(kernels::can_dequantize(row.dtype) == (row.category == DTypeCategory::block));
  }
}

TEST_CASE("dequant: every tensor of ggml's file has ggml's values, bit for bit") {
  const auto folder = test::fixtures("ggml-reference-output");
  if (!folder) return;
  const std::string bytes = test::content_of(*folder / "all-types.gguf");
  const format::Catalog catalog = test::read_bytes(format::gguf_format, bytes);
  std::size_t compared = 0;
  for (const format::TensorEntry& tensor : catalog.tensors) {
    const auto expected = *folder / "expected" / (std::string(tensor.name) + ".npy");
    if (!kernels::can_dequantize(tensor.dtype) || !std::filesystem::exists(expected)) continue;
    CAPTURE(tensor.name);
    const std::string_view blocks = std::string_view(bytes).substr(tensor.begin, tensor.size);
    const std::vector<float> scalar = decoded(kernels::dequantize_scalar, tensor.dtype, blocks);
    check_equal(scalar, npy_floats(expected, scalar.size()));
    check_equal(decoded(kernels::dequantize, tensor.dtype, blocks), scalar);
    ++compared;
  }
  CHECK(compared == 25);
}

TEST_CASE("dequant: blocks of any bytes have the values that the PyPI package gguf 0.19 gives them") {
  // Digests of dequantize() of gguf.quants over test::pattern(8 blocks), NaNs made one.
  struct Expected {
    DType dtype;
    std::uint64_t digest;
  };
  const Expected table[] = {
      {DType::q4_0, 0x7123515144f22325},    {DType::q4_1, 0xdb6bcb1c4bdb494d},    {DType::q5_0, 0xbefad738cb740525},
      {DType::q5_1, 0x23d163581310e7fd},    {DType::q8_0, 0x6b90fe7350140b25},    {DType::q2_k, 0x637e138a4c89126d},
      {DType::q3_k, 0xa02d60b3d6cd9fa5},    {DType::q4_k, 0x4e31ba4041f71ee6},    {DType::q5_k, 0x0097615b281d0d30},
      {DType::q6_k, 0xc616d1335dc3f46d},    {DType::iq2_xxs, 0x6798281db8f5733d}, {DType::iq2_xs, 0xb597b5409d9c46c9},
      {DType::iq3_xxs, 0x952fe033d2fc5b35}, {DType::iq1_s, 0x177dab21eeab2165},   {DType::iq4_nl, 0x2d1921c5fecfb625},
      {DType::iq3_s, 0x1260edf6ca36aef5},   {DType::iq2_s, 0xcc121f13e9ddf961},   {DType::iq4_xs, 0xdcf82751b9065941},
      {DType::iq1_m, 0x4d3828a8ca87f825},   {DType::tq1_0, 0x3dc328b60e856325},   {DType::tq2_0, 0x7c57db5e3e39a325},
      {DType::mxfp4, 0xfd44bdd45aabb725},   {DType::nvfp4, 0xf2cc7981c9294b25},
  };
  for (const Expected& expected : table) {
    CAPTURE(name(expected.dtype));
    const std::string blocks = test::pattern(8 * info(expected.dtype).block_bytes);
    CHECK(digest(decoded(kernels::dequantize_scalar, expected.dtype, blocks)) == expected.digest);
  }
}

TEST_CASE("dequant: the types that gguf does not decode have the values of their definition") {
  const std::string two = {'\x00', '\x40'};  // f16 2.0
  std::string q8_1 = two + "zz" + std::string(32, '\xFD');
  CHECK(decoded(kernels::dequantize_scalar, DType::q8_1, q8_1) == std::vector<float>(32, -6.0f));
  std::string q8_k = {'\0', '\0', '\0', '\x3F'};  // f32 0.5
  q8_k += std::string(256, '\x05') + std::string(32, 'z');
  CHECK(decoded(kernels::dequantize_scalar, DType::q8_k, q8_k) == std::vector<float>(256, 2.5f));
  const std::vector<float> bits =
      decoded(kernels::dequantize_scalar, DType::q1_0, two + "\x05" + std::string(15, '\0'));
  CHECK(std::vector<float>(bits.begin(), bits.begin() + 4) == std::vector<float>{2, -2, 2, -2});
  const std::vector<float> pairs =
      decoded(kernels::dequantize_scalar, DType::q2_0, two + "\xE4" + std::string(15, '\0'));
  CHECK(std::vector<float>(pairs.begin(), pairs.begin() + 5) == std::vector<float>{-2, 0, 2, 4, -2});
}

TEST_CASE("dequant: swapping the fields of a block twice gives the block, once the other byte order") {
  for (const DType dtype : block_types()) {
    CAPTURE(name(dtype));
    const std::string blocks = test::pattern(3 * info(dtype).block_bytes);
    std::string swapped = blocks;
    auto* bytes = reinterpret_cast<std::byte*>(swapped.data());
    kernels::swap_block_fields(dtype, bytes, 3);
    CHECK((swapped != blocks) == (dtype != DType::mxfp4 && dtype != DType::nvfp4));
    kernels::swap_block_fields(dtype, bytes, 3);
    CHECK(swapped == blocks);
  }
  std::string q4_1 = "\x3C\x01\x40\x02" + std::string(16, '\x21');
  kernels::swap_block_fields(DType::q4_1, reinterpret_cast<std::byte*>(q4_1.data()), 1);
  CHECK(q4_1 == "\x01\x3C\x02\x40" + std::string(16, '\x21'));
}

TEST_CASE("dequant: a scale is widened as f16_to_f32 widens it, whatever its bits") {
  for (std::uint32_t code = 0; code < 65536; ++code) {
    const std::uint8_t bytes[] = {static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(code >> 8)};
    if (comparable(kernels::scalar::f16_at(bytes)) != comparable(f16_to_f32(static_cast<std::uint16_t>(code))))
      FAIL(code);
  }
}

namespace {

template <class Value>
std::vector<Value> decoded_by_kernel(DType dtype, std::string_view blocks) {
  const DTypeInfo& row = info(dtype);
  const std::size_t count = blocks.size() / row.block_bytes;
  std::vector<Value> out(count * row.block_elements + 1, Value(12345.0f));  // one more, that must stay as it is
  const Value untouched = out.back();
  kernels::decode_blocks(dtype, dtype_of<Value>, reinterpret_cast<const std::byte*>(blocks.data()), count,
                         reinterpret_cast<std::byte*>(out.data()));
  CHECK(std::memcmp(&out.back(), &untouched, sizeof untouched) == 0);
  out.pop_back();
  return out;
}

/// Narrow values as floats: exact, so that equal floats are equal bits.
template <class Value>
std::vector<float> widened(const std::vector<Value>& values) {
  std::vector<float> result;
  for (const Value value : values) result.push_back(static_cast<float>(value));
  return result;
}

template <class Value>
std::vector<float> rounded(const std::vector<float>& values) {
  std::vector<float> result;
  for (const float value : values) result.push_back(static_cast<float>(Value(value)));
  return result;
}

void check_kernels(DType dtype, std::string_view blocks) {
  const std::vector<float> expected = decoded(kernels::dequantize_scalar, dtype, blocks);
  const std::vector<float> as_f16 = rounded<f16>(expected);
  const std::vector<float> as_bf16 = rounded<bf16>(expected);
  test::on_every_target([&] {
    check_equal(decoded_by_kernel<float>(dtype, blocks), expected);
    check_equal(widened(decoded_by_kernel<f16>(dtype, blocks)), as_f16);
    check_equal(widened(decoded_by_kernel<bf16>(dtype, blocks)), as_bf16);
  });
}

}  // namespace

TEST_CASE("dequant: the kernels of every target give the scalar code's bits, rounded once, for blocks of any bytes") {
  std::size_t kernels = 0;
  for (const DType dtype : block_types()) {
    if (!kernels::has_block_kernel(dtype, DType::bf16)) continue;
    ++kernels;
    CAPTURE(name(dtype));
    for (const std::size_t count : {0, 1, 2, 33}) {
      // Shifted by one byte each: blocks have no alignment.
      for (std::uint32_t seed = 1; seed <= 8; ++seed) {
        const std::string bytes = test::pattern(count * info(dtype).block_bytes + seed, seed);
        check_kernels(dtype, std::string_view(bytes).substr(seed));
      }
    }
  }
  CHECK(kernels == 24);  // all but Q8_1, Q8_K and TQ1_0
  CHECK_FALSE(kernels::has_block_kernel(DType::q4_k, DType::f64));
  CHECK_FALSE(kernels::has_block_kernel(DType::f32, DType::bf16));
}
