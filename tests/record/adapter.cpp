#include "heft/adapter.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "record/support.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using test::names_of;
using test::SafetensorsBuilder;
using test::shape_of;
using test::TempFolder;
using test::thrown_by;

namespace {

Checkpoint net() {
  const TempFolder folder;
  SafetensorsBuilder builder;
  builder.add("fc.weight", "F32", {2, 3}, test::packed<float>({0, 1, 2, 3, 4, 5}));
  builder.add("fc.bias", "F32", {2}, test::packed<float>({6, 7}));
  builder.add("norm.weight", "F32", {2}, test::packed<float>({8, 9}));
  builder.add("norm.bias", "F32", {2}, test::packed<float>({8, 9}));
  builder.add("norm.running_var", "F32", {2}, test::packed<float>({8, 9}));
  builder.add("inorm.weight", "F32", {2}, test::packed<float>({8, 9}));
  builder.add("norm.num_batches_tracked", "I64", {}, test::packed<std::int64_t>({3}));
  builder.add("small", "F16", {1}, "xx");
  return open(folder.write("m.safetensors", builder.build()));
}

ModuleKinds kinds() {
  return ModuleKinds()
      .add("fc", ModuleKind::linear)
      .add("inorm", ModuleKind::instance_norm)
      .add("*norm", ModuleKind::batch_norm);
}

std::map<std::string, DType> wanted(const Checkpoint& checkpoint) {
  std::map<std::string, DType> dtypes;
  for (const TensorView& view : checkpoint.tensors()) dtypes[std::string(view.name())] = view.wanted_dtype();
  return dtypes;
}

}  // namespace

TEST_CASE("adapter: the first pattern that matches the module decides its kind") {
  CHECK(kinds().of_parameter("fc.weight") == ModuleKind::linear);
  CHECK(kinds().of_parameter("inorm.weight") == ModuleKind::instance_norm);
  CHECK(kinds().of_parameter("a.norm.weight") == ModuleKind::batch_norm);
  CHECK(kinds().of_parameter("fc2.weight") == ModuleKind::other);
  CHECK(kinds().of_parameter("weight") == ModuleKind::other);
  CHECK(thrown_by([] { ModuleKinds().add("[", ModuleKind::linear); }).code() == ErrorCode::out_of_range);
}

TEST_CASE("adapter: linear weights are transposed and norms renamed, as views") {
  const Checkpoint original = net();
  const Checkpoint now = adapt(original, pytorch_to_row_major_linear(kinds()));
  CHECK(names_of(now) == std::vector<std::string>{"fc.weight", "fc.bias", "norm.gamma", "norm.beta", "norm.running_var",
                                                  "inorm.weight", "norm.num_batches_tracked", "small"});
  const TensorView weight = now.tensor("fc.weight");
  CHECK(weight.shape() == Shape{3, 2});
  CHECK(weight.shares_storage_with(original.tensor("fc.weight")));
  CHECK(test::values_of(weight) == std::vector<float>{0, 3, 1, 4, 2, 5});
  CHECK(now.root()["norm"]["gamma"].tensor().as<float>()[1] == 9);
  CHECK(!now.find("norm.weight"));
  CHECK(now.shards()[0].tensor_count == 8);
}

TEST_CASE("adapter: half precision applies when loading, except to batch norms") {
  const Checkpoint half = adapt(net(), half_precision({.to = DType::f16, .patterns = {}, .modules = kinds()}));
  CHECK(half.tensor("fc.weight").dtype() == DType::f32);
  CHECK(half.tensor("fc.weight").read<float>(0, 1) == 1);
  const auto dtypes = wanted(half);
  CHECK(dtypes.at("fc.weight") == DType::f16);
  CHECK(dtypes.at("norm.running_var") == DType::f32);
  CHECK(dtypes.at("norm.num_batches_tracked") == DType::i64);
  // Running statistics keep their dtype even if the caller does not name the modules.
  const auto unknown = wanted(adapt(net(), half_precision({.to = DType::f16, .patterns = {}, .modules = {}})));
  CHECK(unknown.at("norm.weight") == DType::f16);
  CHECK(unknown.at("norm.running_var") == DType::f32);
  const auto full = wanted(adapt(net(), half_precision({.to = DType::f32, .patterns = {}, .modules = {}})));
  CHECK(full.at("small") == DType::f32);
  const auto chosen = wanted(adapt(net(), half_precision({.to = DType::f16, .patterns = {"fc.b*"}, .modules = {}})));
  CHECK(chosen.at("fc.bias") == DType::f16);
  CHECK(chosen.at("fc.weight") == DType::f32);
  CHECK(thrown_by([] { return half_precision({.to = DType::bf16, .patterns = {}, .modules = {}}); }).code() ==
        ErrorCode::out_of_range);
}

TEST_CASE("adapter: cast_floats does not change integers, and slices keep the request") {
  const Checkpoint now = adapt(net(), cast_floats(DType::bf16));
  CHECK(wanted(now).at("fc.weight") == DType::bf16);
  CHECK(wanted(now).at("norm.num_batches_tracked") == DType::i64);
  CHECK(now.tensor("fc.weight").slice(1, 0, 2).transpose(0, 1).wanted_dtype() == DType::bf16);
  CHECK(now.tensor("fc.weight").cast_on_load(DType::unknown).wanted_dtype() == DType::f32);
  CHECK(thrown_by([] { return cast_floats(DType::i8); }).code() == ErrorCode::out_of_range);
  CHECK(thrown_by([] { return cast_floats(DType::q4_0); }).code() == ErrorCode::out_of_range);
}

TEST_CASE("adapter: chains apply from left to right, and empty adapters change nothing") {
  const Adapter first = [](TensorView view) { return view.renamed(std::string(view.name()) + "1"); };
  const Adapter second = [](TensorView view) { return view.renamed(std::string(view.name()) + "2"); };
  CHECK(test::name_of(chain(first, second)(test::counting({1}))) == "counting12");
  CHECK(test::name_of(chain({}, second)(test::counting({1}))) == "counting2");
  CHECK(test::name_of(chain(first, {})(test::counting({1}))) == "counting1");
  CHECK(names_of(adapt(net(), {})) == names_of(net()));
}

TEST_CASE("adapter: filters are alternatives, apply after the adapter, and an empty one chooses nothing") {
  const Adapter norms = pytorch_to_row_major_linear(kinds());
  const Checkpoint some =
      adapt(net(), norms,
            Filter().matching("*.gamma").named("small").where([](const TensorView& view) { return view.rank() == 2; }));
  CHECK(names_of(some) == std::vector<std::string>{"fc.weight", "norm.gamma", "small"});
  CHECK(adapt(net(), norms, Filter().matching("norm.weight")).tensors().empty());
  CHECK(adapt(net(), {}, Filter()).tensors().empty());
  CHECK(thrown_by([] { Filter().matching("["); }).code() == ErrorCode::out_of_range);
}

TEST_CASE("adapter: names that collide are refused, but not with one that a filter dropped") {
  const Adapter same = [](TensorView view) { return view.renamed("same"); };
  CHECK(thrown_by([&] { return adapt(net(), same); }).code() == ErrorCode::ambiguous);
  const Checkpoint one =
      adapt(net(), same, Filter().where([](const TensorView& view) { return view.dtype() == DType::f16; }));
  CHECK(names_of(one) == std::vector<std::string>{"same"});
}
