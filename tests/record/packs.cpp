// Burn's and Flax's files as checkpoints: views in the mapping, over inflated bytes, over memory made at open, and of
// pieces.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include <libdeflate.h>

#include "heft/checkpoint.hpp"
#include "heft/record.hpp"
#include "record/support.hpp"
#include "support/pack_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using namespace heft::test::pack;
using test::TempFolder;

namespace {

std::string floats(std::size_t count, float first = 0) {
  std::string bytes(count * sizeof(float), '\0');
  for (std::size_t i = 0; i < count; ++i) {
    const float value = first + static_cast<float>(i);
    std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
  }
  return bytes;
}

std::string burn_record() {
  const std::string placed =
      map({text("bytes"), bytes(floats(6)), text("shape"), shape({2, 3}), text("dtype"), text("F32")});
  const std::string listed = map({text("value"), list({real32(1.5F), real32(-2)}), text("shape"), shape({2})});
  const auto parameter = [](const std::string& inner) { return map({text("id"), text("p"), text("param"), inner}); };
  return map(
      {text("metadata"), map({text("float"), text("f32"), text("int"), text("i32"), text("version"), text("0.13.0")}),
       text("item"),
       map({text("fc"),
            map({text("weight"), parameter(placed), text("bias"), parameter(listed), text("stride"), natural(2)})})});
}

std::string gzip(const std::string& content) {
  libdeflate_compressor* compressor = libdeflate_alloc_compressor(6);
  std::string packed(libdeflate_gzip_compress_bound(compressor, content.size()), '\0');
  packed.resize(libdeflate_gzip_compress(compressor, content.data(), content.size(), packed.data(), packed.size()));
  libdeflate_free_compressor(compressor);
  return packed;
}

std::string flax_array(const std::vector<std::uint64_t>& dims, const std::string& payload) {
  return extension(1, list({shape(dims), text("float32"), bytes(payload)}));
}

/// The elements 0, 1, 2.. of that shape, in chunks of `step` elements.
std::string flax_chunks(const std::vector<std::uint64_t>& dims, std::size_t count, std::size_t step) {
  std::vector<std::string> shape_items, chunks;
  for (std::size_t i = 0; i < dims.size(); ++i)
    shape_items.insert(shape_items.end(), {text(std::to_string(i)), natural(dims[i])});
  for (std::size_t at = 0; at < count; at += step) {
    const std::size_t size = std::min(step, count - at);
    chunks.insert(chunks.end(),
                  {text(std::to_string(at / step)), flax_array({size}, floats(size, static_cast<float>(at)))});
  }
  return map({text("big"), map({text("__msgpack_chunked_array__"), test::pack::boolean(true), text("shape"),
                                map(shape_items), text("chunks"), map(chunks)})});
}

}  // namespace

TEST_CASE("packs: a Burn record is a tree of tensors and values, whether plain or in gzip") {
  const TempFolder folder;
  for (const bool packed : {false, true}) {
    CAPTURE(packed);
    const auto path = folder.write(packed ? "m.mpk.gz" : "m.mpk", packed ? gzip(burn_record()) : burn_record());
    const Checkpoint burn = open(path);
    const Record fc = burn.root()["fc"];
    const TensorView weight = fc["weight"].tensor();
    CHECK(weight.shape() == Shape{2, 3});
    CHECK(weight.read<float>(1, 2) == 5.0F);
    CHECK(fc["bias"].tensor().read<float>(1) == -2.0F);
    CHECK(fc["stride"].integer() == 2);
    const TensorView bias = fc["bias"].tensor();
    CHECK(bias.shard_path() == path.string());
    CHECK(burn.metadata()["version"].text() == "0.13.0");
    CHECK(burn.metadata()["param_id"]["fc.weight"].text() == "p");
    CHECK(burn.verify_checksums().empty());
  }
}

TEST_CASE("packs: a view of a value list outlives the checkpoint") {
  const TempFolder folder;
  TensorView bias;
  {
    const Checkpoint burn = open(folder.write("m.mpk", burn_record()));
    bias = burn.tensor("fc.bias");
  }
  CHECK(bias.name() == "fc.bias");
  const Slice<float> values = bias.as<float>();
  CHECK(values[0] == 1.5F);
}

TEST_CASE("packs: bytes that lie unaligned are told so, and read all the same") {
  const TempFolder folder;
  const TensorView weight = open(folder.write("m.mpk", burn_record())).tensor("fc.weight");
  CHECK(weight.read<float>(0, 1) == 1.0F);
  const Bytes run = weight.bytes();
  if (reinterpret_cast<std::uintptr_t>(run.data()) % alignof(float) != 0)
    CHECK(test::thrown_by([&] { return weight.as<float>(); }).code() == ErrorCode::misaligned);
}

TEST_CASE("packs: gzip whose checksum is wrong is damage, found when its bytes are used") {
  const TempFolder folder;
  std::string packed = gzip(burn_record());
  packed[packed.size() - 8] ^= 1;
  const Checkpoint burn = open(folder.write("m.mpk.gz", packed));
  CHECK(test::thrown_by([&] { return burn.tensor("fc.weight").read<float>(0, 0); }).code() == ErrorCode::corrupt);
  CHECK(burn.verify_checksums().size() == 1);
}

TEST_CASE("packs: an array of Flax in chunks is one tensor, wherever chunks break rows") {
  const TempFolder folder;
  for (const std::size_t step : {1, 2, 3, 5, 7, 12, 59, 60, 100}) {
    CAPTURE(step);
    const TensorView big = open(folder.write("m.msgpack", flax_chunks({3, 4, 5}, 60, step))).tensor("big");
    CHECK(big.shape() == Shape{3, 4, 5});
    for (std::int64_t i = 0; i < 3; ++i)
      for (std::int64_t j = 0; j < 4; ++j)
        for (std::int64_t k = 0; k < 5; ++k) CHECK(big.read<float>(i, j, k) == static_cast<float>((i * 4 + j) * 5 + k));
    CHECK(big.slice(1, 1, 3).read<float>(2, 1, 4) == 54.0F);
  }
}
