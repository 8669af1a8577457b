// An index and its files, as they come apart on disks.
#include <filesystem>
#include <string>
#include <vector>

#include "record/model_folder.hpp"
#include "support/pack_builder.hpp"

using namespace heft;
using test::check_words;
using test::error_of;
using test::has_note;
using test::index_of;
using test::model_of;
using test::names_of;
using test::TempFolder;

namespace {

constexpr const char* index_name = "model.safetensors.index.json";
constexpr const char* first = "model-00001-of-00002.safetensors";
constexpr const char* second = "model-00002-of-00002.safetensors";

}  // namespace

TEST_CASE("index: missing shards are counted and listed in one message") {
  const TempFolder folder;
  std::vector<std::pair<std::string, std::string>> map;
  for (int i = 1; i <= 6; ++i)
    map.push_back({"w" + std::to_string(i), "model-0000" + std::to_string(i) + "-of-00006.safetensors"});
  folder.write(index_name, index_of(map));
  for (const int i : {1, 3, 4})
    folder.write(map[static_cast<std::size_t>(i) - 1].second, model_of({"w" + std::to_string(i)}));
  const Error error = error_of(folder.path());
  CHECK(error.code() == ErrorCode::not_found);
  check_words(error.what(), {"3 of the 6 shards", "missing", "model-00002-of-00006", "model-00005-of-00006",
                             "model-00006-of-00006", "incomplete"});
  CHECK(std::string(error.what()).find("No such file") == std::string::npos);
  // A symlink to nothing is as good as missing.
  std::filesystem::remove(folder.path() / map[0].second);
  std::filesystem::create_symlink("../blobs/1", folder.path() / map[0].second);
  check_words(error_of(folder.path()).what(), {"4 of the 6 shards", "model-00001-of-00006"});
}

TEST_CASE("index: many missing shards are listed in a short message") {
  const TempFolder folder;
  std::vector<std::pair<std::string, std::string>> map;
  for (int i = 0; i < 1000; ++i) map.push_back({"w" + std::to_string(i), "part" + std::to_string(i) + ".safetensors"});
  folder.write("part0.safetensors", model_of({"w0"}));
  folder.write(index_name, index_of(map));
  const Error error = error_of(folder.path());
  check_words(error.what(), {"999 of the 1000", "994 more"});
  CHECK(error.message().size() < 400);
}

TEST_CASE("index: ignores a stale index beside one complete set of parts, with a note") {
  const TempFolder folder;
  folder.write(index_name,
               index_of({{"a", "model-00001-of-00013.safetensors"}, {"b", "model-00013-of-00013.safetensors"}}));
  const Error alone = error_of(folder.path());
  CHECK(alone.code() == ErrorCode::not_found);
  check_words(alone.what(), {"2 of the 2 shards", "missing"});
  folder.write(first, model_of({"a"}));
  CHECK(error_of(folder.path()).code() == ErrorCode::not_found);  // no complete set
  folder.write(second, model_of({"b"}));
  for (const auto& path : {folder.path(), folder.path() / index_name}) {
    const Checkpoint checkpoint = open(path);
    CHECK(names_of(checkpoint) == std::vector<std::string>{"a", "b"});
    CHECK(checkpoint.notes().size() == 1);
    CHECK(has_note(checkpoint,
                   {index_name, "not used", "none of the 2 files", "model-00001-of-00013.safetensors", "2 parts"}));
  }
  folder.write("other-00001-of-00001.safetensors", model_of({"c"}));
  CHECK(error_of(folder.path()).code() == ErrorCode::not_found);  // two sets
}

TEST_CASE("index: takes a tensor from another shard than the declared one, with a note") {
  const TempFolder folder;
  folder.write(first, model_of({"a"}, '1'));
  folder.write(second, model_of({"b", "c"}, '2'));
  folder.write(index_name, index_of({{"a", first}, {"b", second}, {"c", first}}));
  const Checkpoint checkpoint = open(folder.path());
  CHECK(names_of(checkpoint) == std::vector<std::string>{"a", "b", "c"});
  CHECK(checkpoint.tensor("c").read<std::uint8_t>(0) == '2');
  CHECK(checkpoint.notes().size() == 1);
  CHECK(has_note(checkpoint, {"another shard", "'c' in 'model-00002-of-00002.safetensors'"}));
}

TEST_CASE("index: a tensor in no shard is a note, and an error when it is read") {
  const TempFolder folder;
  folder.write(first, model_of({"a"}));
  folder.write(index_name, index_of({{"a", first}, {"gone", first}}));
  const Checkpoint checkpoint = open(folder.path());
  CHECK(names_of(checkpoint) == std::vector<std::string>{"a"});
  CHECK(has_note(checkpoint, {"1 tensor that", "no shard", "gone"}));
  CHECK(!checkpoint.find("gone"));
  const Error error = test::thrown_by([&] { return checkpoint.tensor("gone"); });
  CHECK(error.code() == ErrorCode::not_found);
  CHECK(error.tensor() == "gone");
  check_words(error.what(), {index_name, "no shard has it"});
  folder.write(index_name, index_of({{"x", first}, {"y", first}}));
  const Error none = error_of(folder.path());
  CHECK(none.code() == ErrorCode::corrupt);
  check_words(none.what(), {"none of the 2 tensors", "x", "y"});
}

TEST_CASE("index: of two shards with a tensor uses the declared one, with a note, and refuses if it is neither") {
  const TempFolder folder;
  folder.write("one.safetensors", model_of({"a", "p"}, '1'));
  folder.write("two.safetensors", model_of({"a", "q"}, '2'));
  folder.write("three.safetensors", model_of({"r"}, '3'));
  folder.write(
      index_name,
      index_of(
          {{"a", "two.safetensors"}, {"p", "one.safetensors"}, {"q", "two.safetensors"}, {"r", "three.safetensors"}}));
  const Checkpoint checkpoint = open(folder.path());
  CHECK(checkpoint.tensor("a").read<std::uint8_t>(0) == '2');
  CHECK(checkpoint.tensors().size() == 4);
  CHECK(checkpoint.notes().size() == 1);
  CHECK(has_note(checkpoint, {"1 tensor found in several shards", "'a'"}));
  folder.write(index_name, index_of({{"a", "three.safetensors"}, {"p", "one.safetensors"}, {"q", "two.safetensors"}}));
  const Error error = error_of(folder.path());
  CHECK(error.code() == ErrorCode::ambiguous);
  CHECK(error.tensor() == "a");
  check_words(error.what(), {"one.safetensors", "two.safetensors", "three.safetensors"});
}

TEST_CASE("index: unused shard files of the same kind are a note") {
  const TempFolder folder;
  folder.write(first, model_of({"a"}));
  folder.write("model-mtp-of-00002.safetensors", model_of({"mtp"}));
  folder.write("optimizer.safetensors", model_of({"helper"}));
  folder.write(index_name, index_of({{"a", first}}));
  for (const auto& path : {folder.path(), folder.path() / index_name}) {
    const Checkpoint checkpoint = open(path);
    CHECK(names_of(checkpoint) == std::vector<std::string>{"a"});
    CHECK(checkpoint.notes().size() == 1);
    CHECK(has_note(checkpoint, {"does not name", "'model-mtp-of-00002.safetensors'", "left out"}));
  }
}

TEST_CASE("index: an index without tensors is an error that lists the files beside it") {
  const TempFolder folder;
  folder.write(index_name, index_of({}));
  check_words(error_of(folder.path()).what(), {index_name, "names no tensor"});
  folder.write(first, model_of({"a"}));
  const Error error = error_of(folder.path());
  CHECK(error.code() == ErrorCode::corrupt);
  check_words(error.what(), {"names no tensor", first});
}

TEST_CASE("index: Flax's index has paths with slashes") {
  namespace pack = test::pack;
  const std::string array = pack::list({pack::shape({1}), pack::text("uint8"), pack::bytes("x")});
  const auto shard = [&](const std::string& name) {
    return pack::map({pack::text("dense"), pack::map({pack::text(name), pack::extension(1, array)})});
  };
  const TempFolder folder;
  folder.write("flax_model-00001-of-00002.msgpack", shard("kernel"));
  folder.write("flax_model-00002-of-00002.msgpack", shard("bias"));
  folder.write("flax_model.msgpack.index.json", index_of({{"dense/kernel", "flax_model-00001-of-00002.msgpack"},
                                                          {"dense/bias", "flax_model-00002-of-00002.msgpack"}}));
  const Checkpoint checkpoint = open(folder.path());
  CHECK(names_of(checkpoint) == std::vector<std::string>{"dense.kernel", "dense.bias"});
  CHECK(checkpoint.notes().empty());
}

TEST_CASE("index: an index that agrees with its files has no notes") {
  const TempFolder folder;
  folder.write(first, model_of({"a"}));
  folder.write(second, model_of({"b"}));
  folder.write("config.json", "{}");
  folder.write(index_name, index_of({{"a", first}, {"b", second}}, "{\"total_size\": 2}"));
  CHECK(test::count_of_notes(open(folder.path())) == 0);
}
