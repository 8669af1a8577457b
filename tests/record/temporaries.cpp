// One-line expressions on temporaries: what they return must outlive the checkpoint that they open. Address sanitizers
// show a reference to something destroyed; tests/compile_ok has the types.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "heft/checkpoint.hpp"
#include "record/support.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

using namespace heft;
using test::packed;
using test::SafetensorsBuilder;
using test::TempFolder;

namespace {

// Longer than what a std::string holds inside itself.
const std::string long_name = "model.layers.0.a_module_with_a_long_name.weight";

std::filesystem::path one_tensor(const TempFolder& folder) {
  return folder.write("model.safetensors", SafetensorsBuilder()
                                               .metadata("architecture", "an architecture with a long name")
                                               .add(long_name, "F32", {2, 3}, packed<float>({0, 1, 2, 3, 4, 5}))
                                               .build());
}

}  // namespace

TEST_CASE("temporaries: name, dtype and path of a tensor outlive the checkpoint") {
  const TempFolder folder;
  const auto path = one_tensor(folder);
  const auto name = open(path).tensors()[0].name();
  const auto dtype = open(path).tensor(long_name).dtype_name();
  const auto shard = open(path).tensor(long_name).shard_path();
  const auto& opened = open(path).path();
  CHECK(name == long_name);
  CHECK(dtype == "f32");
  CHECK(shard == path.string());
  CHECK(opened == path.string());
}

TEST_CASE("temporaries: shapes and strides of views outlive them, up to six dims and beyond") {
  const TensorView view = test::counting({2, 3});
  const auto& shape = view.transpose(0, 1).shape();
  const auto& strides = view.transpose(0, 1).strides();
  CHECK(shape == Shape{3, 2});
  CHECK(strides == Strides{1, 3});
  const auto& deep = view.reshape({1, 1, 1, 1, 1, 1, 2, 3}).shape();
  CHECK(deep == Shape{1, 1, 1, 1, 1, 1, 2, 3});
  CHECK(view.reshape({1, 1, 1, 1, 1, 1, 3, 2}).shape()[6] == 3);
}

TEST_CASE("temporaries: texts of metadata, notes and shards outlive the checkpoint") {
  const TempFolder folder;
  const auto path = one_tensor(folder);
  const auto text = open(path).metadata()["architecture"].text();
  const auto& shards = open(path).shards();
  CHECK(text == "an architecture with a long name");
  CHECK(shards.front().path == path.string());
  std::size_t notes = 0;
  for (const std::string& note : open(path).notes()) notes += note.size();
  CHECK(notes == 0);
}

TEST_CASE("temporaries: loops over tensors, slices and pieces keep what they walk over") {
  const TempFolder folder;
  const auto path = one_tensor(folder);
  std::string names;
  for (const TensorView& tensor : open(path).tensors()) names += tensor.name();
  CHECK(names == long_name);
  float sum = 0;
  for (const float value : open(path).tensor(long_name).as<float>()) sum += value;
  CHECK(sum == 15);
  const TensorView half = test::counting({1, 3});
  std::vector<std::int64_t> rows;
  for (const Piece& piece : TensorView::over_pieces("both", {2, 3}, {{half, {0, 0}}, {half, {1, 0}}}).pieces())
    rows.push_back(piece.at[0]);
  CHECK(rows == std::vector<std::int64_t>{0, 1});
}

TEST_CASE("temporaries: the owner of bytes keeps them") {
  const TempFolder folder;
  const auto path = one_tensor(folder);
  const auto& owner = open(path).tensor(long_name).bytes().owner();
  CHECK(owner != nullptr);
  CHECK(open(path).root()["model"]["layers"][0]["a_module_with_a_long_name"]["weight"].tensor().as<float>()[5] == 5);
}
