// PyTorch checkpoints as records: what the room makes of nested values, shared containers, deflated storages and
// checksums.
#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "heft/bind.hpp"
#include "heft/checkpoint.hpp"
#include "heft/remap.hpp"
#include "record/support.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/torch_builder.hpp"

using namespace heft;
using test::packed;
using test::pickled_dict;
using test::pickled_int;
using test::pickled_list;
using test::pickled_real;
using test::pickled_text;
using test::TempFolder;
using test::thrown_by;
using test::TorchBuilder;

namespace {

Checkpoint opened(const TorchBuilder& builder, const OpenOptions& options = {}) {
  const TempFolder folder;
  return open(folder.write("m.pt", builder.build()), options);
}

TorchBuilder training() {
  TorchBuilder builder;
  builder.tensor("net.0.weight", "FloatStorage", {2, 2}, packed<float>({1, 2, 3, 4}));
  builder.tensor("net.2.weight", "FloatStorage", {1}, packed<float>({5}));
  builder.value("epoch", pickled_int(7)).value("rate", pickled_real(0.25)).value("arch", pickled_text("mlp"));
  builder.value("groups",
                pickled_list({pickled_dict({{"lr", pickled_real(0.5)},
                                            {"betas", pickled_list({pickled_real(0.9), pickled_real(0.99)})}}),
                              pickled_dict({})}));
  return builder;
}

}  // namespace

TEST_CASE("torch records: tensors, scalars and containers are one tree") {
  const Record root = opened(training()).root();
  CHECK(root["net"]["0"]["weight"].tensor().as<float>()[3] == 4);
  CHECK(root["net"].kind() == RecordKind::map);
  CHECK(root["epoch"].integer() == 7);
  CHECK(root["epoch"].real() == 7.0);
  CHECK(root["rate"].real() == 0.25);
  CHECK(root["arch"].text() == "mlp");
  const Record group = root["groups"][0];
  CHECK(root["groups"].kind() == RecordKind::list);
  CHECK(group["betas"][1].real() == 0.99);
  CHECK(group["betas"][1].path() == "groups.0.betas.1");
  CHECK(root["groups.0.lr"].real() == 0.5);
  CHECK(root["groups"][1].size() == 0);
  CHECK(group.key(1) == "betas");
  CHECK(root.tensor_count() == 2);
  CHECK(root["groups"].tensor_count() == 0);
}

TEST_CASE("torch records: a list of numbers is a view of them, whatever else is there") {
  const Record group = opened(training()).root()["groups"][0];
  const TensorView betas = group["betas"].numbers();
  CHECK(betas.dtype() == DType::f64);
  CHECK(betas.shape() == Shape{2});
  CHECK(betas.read<double>(1) == 0.99);
  CHECK(betas.name() == "groups.0.betas");
  CHECK(betas.shard_path().ends_with("m.pt"));
  CHECK(thrown_by([&] { return betas.as<double>(); }).code() == ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { return group.numbers(); }).code() == ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { return Record().numbers(); }).code() == ErrorCode::type_mismatch);
}

TEST_CASE("torch records: a missing key inside a value is named by its full path") {
  const Record root = opened(training()).root();
  const Error error = thrown_by([&] { return root["groups"][0]["beta"]; });
  CHECK(error.code() == ErrorCode::not_found);
  CHECK(error.tensor() == "groups.0.beta");
  CHECK(error.message().find("did you mean 'betas'") != std::string::npos);
  CHECK(thrown_by([&] { return root["epoch"]["x"]; }).code() == ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { return root["groups"][2]; }).message().find("it is a list of 2") != std::string::npos);
  CHECK(!root.find("groups.0.lr.x"));
}

TEST_CASE("torch records: deflated storages are inflated when asked for, by one thread for all") {
  const std::string payload = packed(std::vector<float>(50000, 1.5f));
  const Checkpoint checkpoint = opened(TorchBuilder()
                                           .tensor("a", "FloatStorage", {50000}, payload)
                                           .tensor("b", "FloatStorage", {2}, packed<float>({2, 3}))
                                           .deflate());
  const TensorView a = checkpoint.tensor("a");
  CHECK(a.size_bytes() == payload.size());
  CHECK(a.read<float>(49999) == 1.5f);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        if (a.as<float>()[static_cast<std::size_t>(i)] != 1.5f) ++wrong;
        if (checkpoint.tensor("b").read<float>(1) != 3) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  // A second request for the bytes of a record gets the inflated bytes of the first, while a view keeps them.
  const Slice<float> whole = a.as<float>();
  const Slice<float> part = a.slice(0, 1, 2).as<float>();
  CHECK(part.data() == whole.data() + 1);
}

TEST_CASE("torch records: checksums are compared when asked, stored and deflated") {
  CHECK(opened(training()).verify_checksums().empty());
  CHECK(opened(training().deflate()).verify_checksums().empty());
  const std::vector<Damage> stored = opened(training().declare_crc32(0x12345678)).verify_checksums();
  REQUIRE(stored.size() == 1);
  CHECK(stored[0].tensor == "net.2.weight");
  CHECK(stored[0].message.find("expected checksum 12345678") == 0);
  const Checkpoint deflated = opened(training().deflate().declare_crc32(0x12345678));
  CHECK(deflated.verify_checksums().size() == 1);
  CHECK(thrown_by([&] { return deflated.tensor("net.2.weight").bytes(); }).code() == ErrorCode::corrupt);
  CHECK(deflated.tensor("net.0.weight").bytes().size_bytes() == 16);
}

TEST_CASE("torch records: an index of pytorch_model.bin shards is one checkpoint, opened by file and by folder") {
  const TempFolder folder;
  folder.write("pytorch_model-00001-of-00002.bin",
               TorchBuilder().tensor("a", "FloatStorage", {2}, packed<float>({1, 2})).build());
  folder.write("pytorch_model-00002-of-00002.bin", TorchBuilder()
                                                       .tensor("b", "HalfStorage", {1}, packed<std::uint16_t>({0x3C00}))
                                                       .value("epoch", pickled_int(3))
                                                       .build());
  const auto index = folder.write(
      "pytorch_model.bin.index.json",
      R"({"metadata": {"total_size": 10}, "weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}})");
  for (const auto& path : {index, folder.path()}) {
    const Checkpoint checkpoint = open(path);
    CHECK(checkpoint.shards().size() == 2);
    CHECK(checkpoint.tensors().size() == 2);
    CHECK(checkpoint.tensor("a").as<float>()[1] == 2);
    const TensorView second = checkpoint.tensor("b");
    CHECK(second.shard_path().ends_with("00002-of-00002.bin"));
    CHECK(checkpoint.root()["epoch"].integer() == 3);
  }
}

namespace {

struct Layer {
  Slice<float> weight;
  void describe(auto& f) { f("weight", weight); }
};

struct Group {
  double lr = 0;
  std::vector<double> betas;
  void describe(auto& f) {
    f("lr", lr).default_value(0.125);
    f("betas", betas).default_value({});
  }
};

struct Training {
  std::vector<Layer> net;
  std::uint8_t epoch = 0;
  float rate = 0;
  std::string arch;
  std::vector<Group> groups;
  void describe(auto& f) {
    f("net", net);
    f("epoch", epoch);
    f("rate", rate);
    f("arch", arch);
    f("groups", groups);
  }
};

}  // namespace

TEST_CASE("torch records: a training state binds, gaps of a Sequential closed") {
  Training state;
  const BindReport report = bind(opened(training()), state, {.strict = Strict::yes});
  CHECK(report.applied.size() == 8);
  REQUIRE(state.net.size() == 2);
  CHECK(state.net[1].weight[0] == 5);
  CHECK(state.epoch == 7);
  CHECK(state.rate == 0.25f);
  CHECK(state.arch == "mlp");
  REQUIRE(state.groups.size() == 2);
  CHECK(state.groups[0].betas == std::vector<double>{0.9, 0.99});
  CHECK(state.groups[1].lr == 0.125);
  CHECK(!try_bind(opened(training()).root(), state, {.gaps = Gaps::refuse}).ok());
}

TEST_CASE("torch records: remap renumbers PyTorch's lists by itself, and renames values too") {
  const Checkpoint now = remap(opened(training()), Remapping().add("^(epoch|rate)$", "state.$1"));
  CHECK(now.find("net.1.weight").has_value());
  CHECK(now.root()["state"]["epoch"].integer() == 7);
  CHECK(now.root()["net"].kind() == RecordKind::list);
}

TEST_CASE("torch: the tree keeps the order of the pickle's dicts, tensors and other values alike") {
  TorchBuilder builder;
  builder.value("epoch", pickled_int(7))
      .tensor("z", "FloatStorage", {1}, packed<float>({5}))
      .value("rate", pickled_real(0.25));
  builder.tensor("a", "FloatStorage", {1}, packed<float>({5})).value("arch", pickled_text("mlp"));
  const Record root = opened(builder).root();
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < root.size(); ++i) keys.push_back(root.key(i));
  CHECK(keys == std::vector<std::string>{"epoch", "z", "rate", "a", "arch"});
}
