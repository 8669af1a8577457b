#include <doctest/doctest.h>

#include <iterator>
#include <string>
#include <vector>

#include "heft/checkpoint.hpp"
#include "record/support.hpp"
#include "support/gguf_builder.hpp"
#include "support/pickle_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/torch_builder.hpp"

using namespace heft;
using test::name_of;
using test::thrown_by;

namespace {

// The tree over tensors of those names, each one byte. The checkpoint dies here: the records must not need it.
Record tree_of(const std::vector<std::string>& names, const OpenOptions& options = {}) {
  return test::checkpoint_of(names, options).root();
}

std::vector<std::string> keys_of(const Record& record) {
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < record.size(); ++i) keys.push_back(record.key(i));
  return keys;
}

}  // namespace

TEST_CASE("tree: names are split at dots, keys keep the order of the file") {
  const Record root = tree_of({"model.norm.weight", "model.embed.weight", "lm_head.weight"});
  CHECK(root.kind() == RecordKind::map);
  CHECK(root.path().empty());
  CHECK(keys_of(root) == std::vector<std::string>{"model", "lm_head"});
  CHECK(keys_of(root["model"]) == std::vector<std::string>{"norm", "embed"});
  const Record weight = root["model"]["norm"]["weight"];
  CHECK(weight.kind() == RecordKind::tensor);
  CHECK(weight.path() == "model.norm.weight");
  CHECK(name_of(weight.tensor()) == "model.norm.weight");
  CHECK(weight.size() == 0);
}

TEST_CASE("tree: a record is a range of its children") {
  const Record root = tree_of({"layers.0.a", "layers.1.a", "layers.2.a", "norm"});
  std::vector<std::string> paths;
  for (const Record& layer : root["layers"]) paths.push_back(layer.path());
  CHECK(paths == std::vector<std::string>{"layers.0", "layers.1", "layers.2"});
  CHECK(std::distance(root.begin(), root.end()) == 2);
  CHECK((*root.begin()).path() == "layers");
  CHECK(!root.empty());
  CHECK(root["norm"].empty());
  const Record leaf = root["norm"];
  CHECK(leaf.begin() == leaf.end());
}

TEST_CASE("tree: lookups take dotted names relative to the node") {
  const Record root = tree_of({"a.b.c", "a.b.d"});
  CHECK(root["a.b.c"].path() == "a.b.c");
  CHECK(root["a"]["b.d"].path() == "a.b.d");
  CHECK(!root.find("a.b.e"));
  CHECK(!root.find("a.b.c.d"));
  CHECK(!root.find("a."));
  CHECK(!root.find("."));
}

TEST_CASE("tree: keys 0..n-1 make a list in their own order, but never of the root") {
  const Record root = tree_of({"layers.0.w", "layers.10.w", "layers.1.w", "layers.2.w", "layers.3.w", "layers.4.w",
                               "layers.5.w", "layers.6.w", "layers.7.w", "layers.8.w", "layers.9.w"});
  const Record layers = root["layers"];
  CHECK(layers.kind() == RecordKind::list);
  CHECK(layers.size() == 11);
  CHECK(layers[10].path() == "layers.10");
  CHECK(name_of(layers[2]["w"].tensor()) == "layers.2.w");
  CHECK(layers.key(10) == "10");
  CHECK(layers["7"].path() == "layers.7");
  CHECK(tree_of({"0", "1"}).kind() == RecordKind::map);
  CHECK(tree_of({"0", "1"})[1].path() == "1");
}

TEST_CASE("tree: gaps, leading zeros and other keys make a map") {
  for (const std::vector<std::string>& names : {std::vector<std::string>{"l.0", "l.2"},
                                                {"l.00", "l.1"},
                                                {"l.0", "l.x"},
                                                {"l.1", "l.2"},
                                                {"l.0", "l.-1"},
                                                {"l.0", "l."}}) {
    const Record list = tree_of(names)["l"];
    INFO(names[1]);
    CHECK(list.kind() == RecordKind::map);
    CHECK(list.size() == 2);
  }
  CHECK(tree_of({"l.0", "l.2"})["l"][2].path() == "l.2");
}

TEST_CASE("tree: a name that is leaf and prefix is a map with its own leaf as child \"\"") {
  for (const std::vector<std::string>& names : {std::vector<std::string>{"a", "a.b"}, {"a.b", "a"}}) {
    const Record a = tree_of(names)["a"];
    CHECK(a.kind() == RecordKind::map);
    CHECK(keys_of(a) == std::vector<std::string>{"b", ""});
    CHECK(a[""].kind() == RecordKind::tensor);
    CHECK(name_of(a[""].tensor()) == "a");
    CHECK(a[""].path() == "a");
    CHECK(name_of(a.child(1).tensor()) == "a");
    CHECK(name_of(a["b"].tensor()) == "a.b");
  }
  // Numbers beside an own leaf are no list: the leaf has no number.
  CHECK(tree_of({"a", "a.0", "a.1"})["a"].kind() == RecordKind::map);
}

TEST_CASE("tree: names with empty parts keep them") {
  const Record root = tree_of({".", "a..b", "x."});
  CHECK(root[""][""].path() == ".");
  CHECK(name_of(root["a"][""]["b"].tensor()) == "a..b");
  CHECK(name_of(root["x"][""].tensor()) == "x.");
}

TEST_CASE("tree: a single tensor without a name is the root") {
  const Record root = tree_of({""});
  CHECK(root.kind() == RecordKind::tensor);
  CHECK(name_of(root.tensor()).empty());
  const Record both = tree_of({"", "a"});
  CHECK(both.kind() == RecordKind::map);
  CHECK(both["a"].kind() == RecordKind::tensor);
}

TEST_CASE("tree: the first missing key is named, with the nearest") {
  const Record root = tree_of({"model.layers.0.mlp.weight", "model.layers.1.mlp.weight"});
  const Error error = thrown_by([&] { return root["model"]["layer"]["0"]; });
  CHECK(error.code() == ErrorCode::not_found);
  CHECK(error.tensor() == "model.layer");
  CHECK(error.message().find("no 'layer' in 'model' (did you mean 'layers'") == 0);
  const Error index = thrown_by([&] { return root["model"]["layers"][2]; });
  CHECK(index.code() == ErrorCode::not_found);
  CHECK(index.tensor() == "model.layers.2");
  CHECK(thrown_by([&] { return root["model"]["layers"][-1]; }).code() == ErrorCode::not_found);
  CHECK(thrown_by([&] { return root["model.layers.0.mlp.weight"]["x"]; }).code() == ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { return root.child(1); }).code() == ErrorCode::out_of_range);
  CHECK(thrown_by([&] { return root.key(1); }).code() == ErrorCode::out_of_range);
}

TEST_CASE("tree: an error about a value of the wrong kind names its kind") {
  const Record root = tree_of({"a.b"});
  for (const auto& call :
       {+[](const Record& r) { static_cast<void>(r.tensor()); },
        +[](const Record& r) { static_cast<void>(r.integer()); },
        +[](const Record& r) { static_cast<void>(r.unsigned_integer()); },
        +[](const Record& r) { static_cast<void>(r.real()); }, +[](const Record& r) { static_cast<void>(r.text()); },
        +[](const Record& r) { static_cast<void>(r.bytes()); },
        +[](const Record& r) { static_cast<void>(r.boolean()); },
        +[](const Record& r) { static_cast<void>(r.class_name()); }}) {
    const Error error = thrown_by([&] { call(root["a"]); });
    CHECK(error.code() == ErrorCode::type_mismatch);
    CHECK(error.message().find("'a' is a map") != std::string::npos);
    CHECK(thrown_by([&] { call(Record()); }).code() == ErrorCode::type_mismatch);
  }
}

TEST_CASE("tree: subtrees report their numbers of tensors and bytes") {
  const Record root = tree_of({"a.b.c", "a.b.d", "a.e", "f", "f.g"});
  CHECK(root.tensor_count() == 5);
  CHECK(root.tensor_bytes() == 5);
  CHECK(root["a"]["b"].tensor_count() == 2);
  CHECK(root["f"].tensor_count() == 2);
  CHECK(root["f"][""].tensor_count() == 1);
  CHECK(Record().tensor_count() == 0);
}

TEST_CASE("tree: a name of too many parts is one leaf under its whole name, with a note") {
  std::string deep = "x";
  for (int i = 0; i < 2000; ++i) deep += ".x";
  for (const std::string& odd : {deep, std::string(10'000, '.'), std::string(65'536, '.')}) {
    const Checkpoint checkpoint = test::checkpoint_of({"a.b", odd, "x.y"});
    CHECK(name_of(checkpoint.tensor(odd)) == odd);
    const Record root = checkpoint.root();
    CHECK(keys_of(root) == std::vector<std::string>{"a", odd, "x"});
    CHECK(name_of(root[odd].tensor()) == odd);
    CHECK(root[odd].path() == odd);
    CHECK(root["a.b"].path() == "a.b");
    CHECK(root["x.y"].path() == "x.y");
    CHECK(!root.find(odd.substr(1)));
    CHECK(root.tensor_count() == 3);
    REQUIRE(checkpoint.notes().size() == 1);
    CHECK(checkpoint.notes()[0].find(
              "parts, more than Limits::record_depth = 1000: the tree shows it as one leaf under its whole name") !=
          std::string::npos);
  }
}

TEST_CASE("tree: the limit of parts is the caller's, and the last depth that it allows is split") {
  OpenOptions options;
  options.limits.record_depth = 3;
  const Checkpoint checkpoint = test::checkpoint_of({"a.b.c", "a.b.c.d", "e.f.g.h"}, options);
  CHECK(keys_of(checkpoint.root()) == std::vector<std::string>{"a", "a.b.c.d", "e.f.g.h"});
  CHECK(checkpoint.root()["a"]["b"]["c"].kind() == RecordKind::tensor);
  REQUIRE(checkpoint.notes().size() == 1);
  CHECK(checkpoint.notes()[0].starts_with("'a.b.c.d' (and 1 more) has 4 parts"));
  options.limits.record_depth = 4;
  const Checkpoint deeper = test::checkpoint_of({"a.b.c", "a.b.c.d", "e.f.g.h"}, options);
  CHECK(deeper.notes().empty());
}

TEST_CASE("tree: tens of thousands of siblings are found without a search through them") {
  std::vector<std::string> names;
  for (int i = 0; i < 30000; ++i) names.push_back("w" + std::to_string(i));
  const Record root = tree_of(names);
  CHECK(root.size() == 30000);
  for (const std::string& name : names) REQUIRE(root[name].path() == name);
  for (std::size_t i = 0; i < root.size(); ++i) REQUIRE(root.child(i).path() == names[i]);
}

TEST_CASE("tree: arrays of metadata are lists whose elements are records, each with its path") {
  const test::TempFolder folder;
  test::GgufBuilder file;
  const auto number = [&](auto value) { return file.number(value); };
  file.pair("words", test::GgufValue::array,
            file.array_head(test::GgufValue::string, 3) + file.string("a") + file.string("") + file.string("the"))
      .pair("halves", test::GgufValue::array, file.array_head(test::GgufValue::f32, 2) + number(0.5F) + number(-1.5F))
      .pair("nested", test::GgufValue::array,
            file.array_head(test::GgufValue::array, 2) + file.array_head(test::GgufValue::u64, 1) + number(UINT64_MAX) +
                file.array_head(test::GgufValue::boolean, 2) + number(std::uint8_t{1}) + number(std::uint8_t{0}))
      .pair("none", test::GgufValue::array, file.array_head(test::GgufValue::string, 0));
  const Record metadata = open(folder.write("m.gguf", file.build())).metadata();
  CHECK(metadata["words"].kind() == RecordKind::list);
  CHECK(metadata["words"].size() == 3);
  CHECK(metadata["words"][2].text() == "the");
  CHECK(metadata["words"][1].text().empty());
  CHECK(metadata["words.2"].path() == "words.2");
  CHECK(metadata["halves"][1].real() == -1.5);
  CHECK(metadata["halves"][1].detail() == "f32");
  CHECK(metadata["nested"][0][0].unsigned_integer() == UINT64_MAX);
  CHECK(metadata["nested"][1][0].boolean());
  CHECK_FALSE(metadata["nested"][1][1].boolean());
  CHECK(metadata["nested"][1][1].path() == "nested.1.1");
  CHECK(metadata["none"].size() == 0);
  CHECK(metadata["words"].tensor_count() == 0);
  CHECK(thrown_by([&] { return metadata["words"][3]; }).code() == ErrorCode::not_found);
}

TEST_CASE("tree: keys of a large map of a value are found by a table, integers and dots among them") {
  const test::TempFolder folder;
  std::vector<std::pair<std::string, std::string>> pairs;
  for (int i = 0; i < 1000; ++i) pairs.emplace_back("key." + std::to_string(i), test::pickled_int(i));
  const std::string path = folder.write("m.pt", test::TorchBuilder().value("large", test::pickled_dict(pairs)).build());
  const Record large = open(path).root()["large"];
  REQUIRE(large.size() == 1000);
  for (int i = 0; i < 1000; ++i) REQUIRE(large["key." + std::to_string(i)].integer() == i);
  CHECK(!large.find("key"));
  CHECK(!large.find("key.1000"));
  CHECK(!large.find("key.1.2"));
  CHECK(open(path).root()["large.key.7"].integer() == 7);
}

TEST_CASE("tree: totals count a shared subtree once for each path to it, and a cycle as nothing") {
  namespace p = test::pickle;
  const test::TempFolder folder;
  // {"a": shared, "b": shared, "c": {"self": itself, "t": tensor}}
  const std::string shared = p::dict({p::text("t"), p::tensor("0", 4, 0, {4}, {1})});
  const std::string cycle = "}r" + test::little(2, 4) + "(" + p::text("self") + "j" + test::little(2, 4) +
                            p::text("t") + p::tensor("0", 4, 0, {2}, {1}) + "u";
  const std::string object = p::dict(
      {p::text("x"), p::dict({p::text("a"), shared + "r" + test::little(1, 4), p::text("b"), "j" + test::little(1, 4)}),
       p::text("c"), cycle});
  const Record root = open(folder.write("m.pt", p::torch_file(object, {std::string(16, 'x')}))).root();
  CHECK(root["x"].tensor_count() == 2);
  CHECK(root["x"].tensor_bytes() == 32);
  CHECK(root["c"].tensor_count() == 1);
  CHECK(root["c"].tensor_bytes() == 8);
}

TEST_CASE("tree: every record of a value has its path, also where two values share it") {
  namespace p = test::pickle;
  const test::TempFolder folder;
  // {"x": [[1, [2, 3]]], "y": the inner list again}
  const std::string inner =
      p::list({p::integer(1), p::list({p::integer(2), p::integer(3)})}) + "r" + test::little(1, 4);
  const std::string object = p::dict({p::text("x"), p::list({inner}), p::text("y"), "j" + test::little(1, 4)});
  const Record root = open(folder.write("m.pt", p::torch_file(object))).root();
  CHECK(root["x"][0][1][1].integer() == 3);
  CHECK(root["x"][0][1][1].path() == "x.0.1.1");
  CHECK(root["x"][0].path() == "x.0");
  CHECK(root["x"].path() == "x");
  CHECK(root["y"][1][0].integer() == 2);
  CHECK(root["y"][1][0].path() == "y.1.0");
  CHECK(root["y"].path() == "y");
}
