// ggml's blocks through the whole engine: opened from a GGUF file, sliced, and converted on the way into memory.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "format/gguf/tensor_types.hpp"
#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "kernels/dequant.hpp"
#include "support/fixtures.hpp"
#include "support/gguf_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;
using test::GgufBuilder;
using test::GgufValue;

constexpr std::uint32_t f32_type = 0;
constexpr IoMethod every_path[] = {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read};

std::vector<DType> block_types() {
  std::vector<DType> types;
  for (const DTypeInfo& row : dtypes())
    if (row.category == DTypeCategory::block) types.push_back(row.dtype);
  return types;
}

template <class Value>
std::vector<Value> values_of(const Weights& weights, std::string_view name) {
  const std::span<const Value> values = weights[name].span<Value>();
  return {values.begin(), values.end()};
}

template <class Value>
std::vector<Value> loaded(const TensorView& view) {
  LoadPlan plan;
  plan.add(view, dtype_of<Value>);
  return values_of<Value>(materialize(plan), view.name());
}

/// The number of places where the bits differ, two NaNs taken as one.
template <class Value>
std::size_t differences(const std::vector<Value>& values, const std::vector<Value>& expected) {
  if (values.size() != expected.size()) return SIZE_MAX;
  std::size_t count = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool both_nan = std::isnan(static_cast<float>(values[i])) && std::isnan(static_cast<float>(expected[i]));
    count += !both_nan && std::memcmp(&values[i], &expected[i], sizeof(Value)) != 0;
  }
  return count;
}

template <class Value>
std::vector<Value> rounded(const std::vector<float>& floats) {
  std::vector<Value> values;
  for (const float value : floats) values.emplace_back(value);
  return values;
}

std::vector<float> npy_floats(const std::filesystem::path& path) { return loaded<float>(open(path).tensor("arr_0")); }

/// A tensor of `rows` rows of four blocks for every block type, of any bytes, in either byte order.
std::string file_of_blocks(bool big_endian, std::uint64_t rows) {
  GgufBuilder file(3, big_endian);
  for (const DType type : block_types()) {
    const DTypeInfo& row = info(type);
    std::string blocks = test::pattern(4 * rows * row.block_bytes);
    if (big_endian) kernels::swap_block_fields(type, reinterpret_cast<std::byte*>(blocks.data()), 4 * rows);
    file.tensor(row.name, {4 * std::uint64_t{row.block_elements}, rows}, *format::gguf::type_id(type), blocks);
  }
  return file.build();
}

}  // namespace

TEST_CASE("blocks: every tensor of ggml's file loads as ggml's own values, as f32, f16 and bf16") {
  const auto folder = test::fixtures("ggml-reference-output");
  if (!folder) return;
  const Checkpoint checkpoint = open(*folder / "all-types.gguf");
  std::size_t compared = 0;
  for (const TensorView& view : checkpoint.tensors()) {
    const auto expected_path = *folder / "expected" / (std::string(view.name()) + ".npy");
    if (!std::filesystem::exists(expected_path)) continue;
    CAPTURE(view.name());
    const std::vector<float> expected = npy_floats(expected_path);
    CHECK(differences(loaded<float>(view), expected) == 0);
    CHECK(differences(loaded<f16>(view), rounded<f16>(expected)) == 0);
    CHECK(differences(loaded<bf16>(view), rounded<bf16>(expected)) == 0);
    ++compared;
  }
  CHECK(compared == 28);
}

TEST_CASE("blocks: every type in either byte order, on every path, decodes as the scalar code does") {
  constexpr std::uint64_t rows = 700;  // more than one part, and more than a tile
  const test::TempFolder folder;
  for (const bool big_endian : {false, true}) {
    const Checkpoint checkpoint =
        open(folder.write(big_endian ? "big.gguf" : "little.gguf", file_of_blocks(big_endian, rows)));
    LoadPlan plan;
    for (const TensorView& view : checkpoint.tensors()) plan.add(view, DType::f32);
    for (const IoMethod path : every_path) {
      const Weights weights = materialize(plan, {.threads = 3, .io_method = path});
      for (const DType type : block_types()) {
        INFO(name(type), ", path ", name(path), big_endian ? ", big-endian" : "");
        const std::string blocks = test::pattern(4 * rows * info(type).block_bytes);
        std::vector<float> expected(4 * rows * info(type).block_elements);
        kernels::dequantize_scalar(type, reinterpret_cast<const std::byte*>(blocks.data()), 4 * rows, expected.data());
        CHECK(differences(values_of<float>(weights, info(type).name), expected) == 0);
      }
    }
  }
}

TEST_CASE("blocks: a slice of rows or of whole blocks is that part of the whole; another is refused with the reason") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.gguf", file_of_blocks(false, 6)));
  for (const DType type : block_types()) {
    CAPTURE(name(type));
    const TensorView view = checkpoint.tensor(info(type).name);
    const std::int64_t block = info(type).block_elements;
    CHECK(view.shape() == Shape{6, 4 * block});
    const std::vector<bf16> whole = loaded<bf16>(view);
    const std::vector<bf16> part = loaded<bf16>(view.slice(0, 1, 5).slice(1, block, 3 * block));
    std::vector<bf16> expected;
    for (std::int64_t row = 1; row < 5; ++row)
      expected.insert(expected.end(), whole.begin() + row * 4 * block + block,
                      whole.begin() + row * 4 * block + 3 * block);
    CHECK(differences(part, expected) == 0);
    CHECK(differences(loaded<bf16>(view.shard(1, 3, 4)), loaded<bf16>(view.slice(1, 3 * block, 4 * block))) == 0);
    const Error error = test::thrown_by([&] { return view.slice(1, block / 2, 2 * block); });
    CHECK(error.code() == ErrorCode::misaligned);
    CHECK(error.message().find("whole blocks of " + std::to_string(block) + " elements") != std::string::npos);
    CHECK(test::thrown_by([&] { return view.shard(1, 0, 8); }).code() == ErrorCode::misaligned);
  }
}

TEST_CASE("blocks: a split opened from any part equals the whole") {
  const test::TempFolder folder;
  GgufBuilder whole;
  whole.text("general.architecture", "heft");
  for (int i = 0; i < 5; ++i)
    whole.tensor("t" + std::to_string(i), {32, 3}, *format::gguf::type_id(DType::q8_0),
                 test::pattern(102, 1u + static_cast<std::uint32_t>(i)));
  folder.write("whole.gguf", whole.build());
  const int owner[] = {0, 2, 2, 0, 2};  // part 2 has no tensor
  for (int part = 0; part < 3; ++part) {
    GgufBuilder file;
    if (part == 0) file.text("general.architecture", "heft");
    file.pair("split.no", GgufValue::u16, file.number(static_cast<std::uint16_t>(part)))
        .pair("split.count", GgufValue::u16, file.number(std::uint16_t{3}))
        .pair("split.tensors.count", GgufValue::i32, file.number(std::int32_t{5}));
    for (int i = 0; i < 5; ++i)
      if (owner[i] == part)
        file.tensor("t" + std::to_string(i), {32, 3}, *format::gguf::type_id(DType::q8_0),
                    test::pattern(102, 1u + static_cast<std::uint32_t>(i)));
    folder.write("split-0000" + std::to_string(part + 1) + "-of-00003.gguf", file.build());
  }
  const Checkpoint expected = open(folder.path() / "whole.gguf");
  for (const char* part : {"split-00001-of-00003.gguf", "split-00002-of-00003.gguf", "split-00003-of-00003.gguf"}) {
    CAPTURE(part);
    const Checkpoint split = open(folder.path() / part);
    CHECK(split.tensors().size() == 5);
    const Record architecture = split.metadata()["general.architecture"];
    CHECK(architecture.text() == "heft");
    for (const TensorView& view : expected.tensors())
      CHECK(differences(loaded<float>(split.tensor(view.name())), loaded<float>(view)) == 0);
  }
}

TEST_CASE("blocks: ggml's three-part split is one checkpoint from whichever part it is opened") {
  const auto folder = test::fixtures("ggml-reference-output");
  if (!folder) return;
  std::vector<std::vector<float>> first;
  for (const char* part : {"split-00001-of-00003.gguf", "split-00002-of-00003.gguf", "split-00003-of-00003.gguf"}) {
    CAPTURE(part);
    const Checkpoint checkpoint = open(*folder / part);
    std::vector<std::vector<float>> values;
    for (const TensorView& view : checkpoint.tensors()) values.push_back(loaded<float>(view));
    CHECK(values.size() == 5);
    CHECK(checkpoint.shards().size() == 3);
    if (first.empty()) first = values;
    CHECK(values == first);
  }
}

TEST_CASE("blocks: other types are numbers as they are, and a type without values is bytes") {
  const test::TempFolder folder;
  GgufBuilder file;
  file.tensor("old", {32}, 31, std::string(18, 'o')).tensor("f", {2}, f32_type, test::packed(std::vector{1.5F, -2.0F}));
  const Checkpoint checkpoint = open(folder.write("model.gguf", file.build()));
  CHECK(loaded<f16>(checkpoint.tensor("f")) == std::vector{f16(1.5F), f16(-2.0F)});
  LoadPlan plan;
  const TensorView old = checkpoint.tensor("old");
  const Error error = test::thrown_by([&] {
    plan.add(old, DType::f32);
    return materialize(plan);
  });
  CHECK(error.code() == ErrorCode::unsupported);
  CHECK(old.dtype_name() == "q4_0_4_4");
}
