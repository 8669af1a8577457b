// Distributed checkpoints: a folder with an index and chunks is one checkpoint.
#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/record.hpp"
#include "record/support.hpp"
#include "support/dcp_builder.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using test::DcpBuilder;
using test::TempFolder;

namespace {

/// Numbers of f32, each after the one before.
std::string ramp(std::size_t count, float first = 0) {
  std::string bytes(count * sizeof(float), '\0');
  for (std::size_t i = 0; i < count; ++i) {
    const float value = first + static_cast<float>(i);
    std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
  }
  return bytes;
}

/// w [4, 6] in four boxes over two files; v whole; an empty one; values.
DcpBuilder sample() {
  DcpBuilder made;
  made.tensor("model.w", {4, 6});
  for (const int row : {0, 2})
    for (const int column : {0, 3}) {
      std::string box;
      for (int r = row; r < row + 2; ++r) box += ramp(3, static_cast<float>(r * 6 + column));
      made.chunk({row, column}, {2, 3}, box, row == 0 ? "__0_0.distcp" : "__1_0.distcp");
    }
  made.tensor("model.v", {3}).chunk({0}, {3}, ramp(3, 100), "__1_0.distcp");
  made.tensor("none", {0, 3}).chunk({0, 0}, {0, 3}, "", "__1_0.distcp");
  using namespace test::pickle;
  made.value("step", integer(7)).value("lr", dict({text("a"), integer(1)}), "__1_0.distcp");
  made.value("state", dict({text("t"), tensor("0", 2, 0, {2}, {1})}), "__1_0.distcp");
  return made;
}

Error open_error(const DcpBuilder& made) {
  const TempFolder folder;
  made.write(folder);
  return test::thrown_by([&] { return open(folder.path()); });
}

}  // namespace

TEST_CASE("distributed: tensors in boxes and whole ones, empty ones and values are one checkpoint") {
  const TempFolder folder;
  DcpBuilder made = sample();
  made.values.pop_back();  // `state` mentions a storage that its file lacks
  made.write(folder);
  for (const auto& path : {folder.path(), folder.path() / ".metadata"}) {
    const Checkpoint opened = open(path);
    CHECK(test::names_of(opened) == std::vector<std::string>{"model.w", "model.v", "none"});
    const TensorView w = opened.tensor("model.w");
    CHECK(test::count_of_pieces(w) == 4);
    CHECK(test::shape_of(w) == Shape{4, 6});
    std::vector<float> expected(24);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<float>(i);
    CHECK(test::values_of(w) == expected);
    CHECK(test::values_of(w.slice(1, 2, 4)) == std::vector<float>{2, 3, 8, 9, 14, 15, 20, 21});
    CHECK(test::values_of(opened.tensor("model.v")) == std::vector<float>{100, 101, 102});
    CHECK(test::count_of_pieces(opened.tensor("model.v")) == 0);
    CHECK(opened.tensor("none").dtype() == DType::f32);
    CHECK(test::shape_of(opened.tensor("none")) == Shape{0, 3});
    CHECK(opened.root()["step"].integer() == 7);
    CHECK(opened.root()["lr"]["a"].integer() == 1);
    CHECK(opened.shards().size() == 2);
    CHECK(opened.notes().empty());
    CHECK(opened.verify_checksums().empty());
  }
}

TEST_CASE("distributed: a value that holds tensors is listed under its name") {
  DcpBuilder made = sample();
  made.values.pop_back();
  using namespace test::pickle;
  made.values.push_back(
      {"rng",
       made.store("__0_0.distcp",
                  torch_file(dict({text("t"), tensor("0", 2, 0, {2}, {1}), text("n"), integer(3)}), {ramp(2, 5)}))});
  const TempFolder folder;
  made.write(folder);
  const Checkpoint opened = open(folder.path());
  CHECK(test::values_of(opened.tensor("rng.t")) == std::vector<float>{5, 6});
  CHECK(opened.root()["rng"]["n"].integer() == 3);
}

TEST_CASE("distributed: a file of it alone is an error that names the folder") {
  const TempFolder folder;
  DcpBuilder made = sample();
  made.write(folder, "step");
  const Error error = test::thrown_by([&] { return open(folder.path() / "step" / "__0_0.distcp"); });
  CHECK(error.code() == ErrorCode::unsupported);
  CHECK(std::string(error.what()).find("distributed checkpoint") != std::string::npos);
  CHECK(std::string(error.what()).find("step'") != std::string::npos);
}

TEST_CASE("distributed: an index that is missing is an error that names it") {
  const TempFolder folder;
  folder.write("__0_0.distcp", "x");
  const Error error = test::thrown_by([&] { return open(folder.path()); });
  CHECK(error.code() == ErrorCode::not_found);
  CHECK(std::string(error.what()).find(".metadata") != std::string::npos);
}

TEST_CASE("distributed: files of Megatron-Core and Lightning beside the index are noted, and never the model") {
  for (const std::string name : {"common.pt", "meta.pt"}) {
    const TempFolder folder;
    DcpBuilder().tensor("model.v", {3}).chunk({0}, {3}, ramp(3)).write(folder, "iter_0000005");
    folder.write(
        "iter_0000005/" + name,
        test::pickle::torch_file(test::pickle::dict({test::pickle::text("iteration"), test::pickle::integer(5)})));
    folder.write("iter_0000005/metadata.json", R"({"sharded_backend": "torch_dist", "sharded_backend_version": 1})");
    folder.write("latest_checkpointed_iteration.txt", "5");
    const Checkpoint checkpoint = open(folder.path() / "iter_0000005");
    CHECK(test::names_of(checkpoint) == std::vector<std::string>{"model.v"});
    REQUIRE(checkpoint.notes().size() == 1);
    CHECK(checkpoint.notes()[0].starts_with("not used: '" + name + "'"));
    const Error above = test::thrown_by([&] { return open(folder.path()); });
    CHECK(above.code() == ErrorCode::not_found);
    CHECK(std::string(above.what()).find("those of the folder 'iter_0000005' do; open it") != std::string::npos);
  }
}

TEST_CASE("distributed: a folder of Zarr arrays is refused by name") {
  const TempFolder folder;
  folder.write("metadata.json", R"({"sharded_backend": "zarr"})");
  folder.write("common.pt", "x");
  folder.write("model.embedding.weight/.zarray", "{}");
  folder.write("model.embedding.weight/0.0", "x");
  const Error error = test::thrown_by([&] { return open(folder.path()); });
  CHECK(std::string(error.what()).find("Zarr") != std::string::npos);
  CHECK(std::string(error.what()).find("torch_dist") != std::string::npos);
}

TEST_CASE("distributed: an index that does not fit its files is refused, with the tensor") {
  struct Wrong {
    const char* what;
    std::function<void(DcpBuilder&)> make;
    ErrorCode code;
    const char* tensor;
    const char* words;
  };
  const auto first_chunk = [](DcpBuilder& made) -> DcpBuilder::Chunk& { return made.tensors[0].chunks[0]; };
  const Wrong table[] = {
      {"a chunk over another", [&](DcpBuilder& made) { first_chunk(made).at = {1, 0}; }, ErrorCode::corrupt, "model.w",
       "overlap"},
      {"a chunk outside", [&](DcpBuilder& made) { first_chunk(made).at = {3, 0}; }, ErrorCode::corrupt, "model.w",
       "inside"},
      {"a hole", [&](DcpBuilder& made) { made.tensors[0].chunks.pop_back(); }, ErrorCode::corrupt, "model.w",
       "together"},
      {"no chunk", [&](DcpBuilder& made) { made.tensors[0].chunks.clear(); }, ErrorCode::corrupt, "model.w",
       "together"},
      {"a chunk of another shape", [&](DcpBuilder& made) { first_chunk(made).sizes = {3, 2}; }, ErrorCode::corrupt,
       "model.w", "[3, 2]"},
      {"a chunk of another dtype", [&](DcpBuilder& made) { made.tensors[0].dtype = "int32"; }, ErrorCode::corrupt,
       "model.w", "i32"},
      {"a chunk of another rank", [&](DcpBuilder& made) { first_chunk(made).sizes = {6}; }, ErrorCode::corrupt,
       "model.w", "dims"},
      {"a chunk without a place", [&](DcpBuilder& made) { first_chunk(made).is_declared = false; }, ErrorCode::corrupt,
       "model.w", "no place"},
      {"a value without bytes", [&](DcpBuilder& made) { made.values[0].stored.size = 1u << 30; }, ErrorCode::corrupt,
       "step", "incomplete"},
      {"a chunk behind the file's end", [&](DcpBuilder& made) { first_chunk(made).stored.offset = 1u << 30; },
       ErrorCode::corrupt, "model.w", "incomplete"},
      {"a place in the middle of another", [&](DcpBuilder& made) { first_chunk(made).stored.offset += 4; },
       ErrorCode::unsupported, "model.w", "torch.save"},
      {"a chunk that is a value", [&](DcpBuilder& made) { first_chunk(made).stored = made.values[0].stored; },
       ErrorCode::corrupt, "model.w", "one tensor"},
      {"a file elsewhere", [&](DcpBuilder& made) { first_chunk(made).stored.file = "../x.distcp"; }, ErrorCode::refused,
       "", "plain name"},
      {"a file that is not there", [&](DcpBuilder& made) { first_chunk(made).stored.file = "__9_0.distcp"; },
       ErrorCode::not_found, "", "__9_0"},
      {"bytes that are transformed", [&](DcpBuilder& made) { made.transform = "zstd"; }, ErrorCode::unsupported,
       "model.w", "zstd"},
      {"a name twice", [&](DcpBuilder& made) { made.tensors.push_back(made.tensors[1]); }, ErrorCode::ambiguous,
       "model.v", "two places"},
      {"a storage that its file lacks", [&](DcpBuilder&) {}, ErrorCode::corrupt, "state", "storage"},
  };
  for (const Wrong& one : table) {
    CAPTURE(one.what);
    DcpBuilder made = sample();
    if (one.what != table[std::size(table) - 1].what) made.values.pop_back();
    one.make(made);
    const Error error = open_error(made);
    CHECK(name(error.code()) == name(one.code));
    CHECK(error.tensor().substr(0, std::string_view(one.tensor).size()) == one.tensor);
    CHECK_MESSAGE(std::string(error.what()).find(one.words) != std::string::npos, std::string(error.what()));
    CHECK_FALSE(error.path().empty());
  }
}

TEST_CASE("distributed: refuses every prefix of an index, and no flipped bit reads outside") {
  DcpBuilder made;
  made.tensor("w", {2}).chunk({0}, {1}, ramp(1)).chunk({1}, {1}, ramp(1, 1));
  const TempFolder folder;
  made.write(folder);
  const std::string index = made.metadata();
  for (std::size_t size = 0; size < index.size(); ++size) {
    folder.write(".metadata", index.substr(0, size));
    CHECK_THROWS_AS(static_cast<void>(open(folder.path())), Error);
  }
  for (std::size_t at = 0; at < index.size(); ++at) {
    std::string changed = index;
    changed[at] ^= static_cast<char>(1 << (at % 8));
    folder.write(".metadata", changed);
    try {
      for (const TensorView& view : open(folder.path()).tensors()) static_cast<void>(view.size_bytes());
    } catch (const Error& error) {
      CHECK_FALSE(std::string(error.what()).empty());
    }
  }
}

TEST_CASE("distributed: chunks kept in safetensors files are found by their tensor's name") {
  DcpBuilder made;
  made.tensor("w", {4}).chunk({0}, {2}, ramp(2)).chunk({2}, {2}, ramp(2, 2), "__1_0.distcp");
  const auto file = [](float first) {
    return test::safetensors_file(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", ramp(2, first));
  };
  made.files["__0_0.distcp"] = file(0);
  made.files["__1_0.distcp"] = file(2);
  for (DcpBuilder::Chunk& chunk : made.tensors[0].chunks) chunk.stored = {chunk.stored.file, 0, 8};
  const TempFolder folder;
  made.write(folder);
  CHECK(test::values_of(open(folder.path()).tensor("w")) == std::vector<float>{0, 1, 2, 3});
  made.tensors[0].name = "x";
  CHECK(open_error(made).code() == ErrorCode::corrupt);
}
