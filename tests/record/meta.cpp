#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "heft/checkpoint.hpp"
#include "record/support.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using test::counting;
using test::SafetensorsBuilder;
using test::TempFolder;
using test::thrown_by;
using test::values_of;

namespace {

// A Llama small enough to read: dim 8, 4 heads of 2, a hidden size and a vocabulary that params.json need not say.
constexpr std::int64_t dim = 8, heads = 4, head_dim = 2, hidden = 24, vocab = 16;

enum class Embeddings { by_column, by_row };  // Llama 1 and 2, Llama 3

struct Model {
  std::map<std::string, TensorView> whole;
  std::map<std::string, std::size_t> cut;  // dim along which a tensor is cut; absent: replicated

  void add(const std::string& name, const Shape& shape, int cut_dim) {
    whole[name] = counting(shape, static_cast<float>(1000 * whole.size()));
    if (cut_dim >= 0) cut[name] = static_cast<std::size_t>(cut_dim);
  }
};

Model llama(std::int64_t key_heads, Embeddings embeddings) {
  Model model;
  model.add("tok_embeddings.weight", {vocab, dim}, embeddings == Embeddings::by_row ? 0 : 1);
  model.add("output.weight", {vocab, dim}, 0);
  model.add("norm.weight", {dim}, -1);
  model.add("rope.freqs", {head_dim / 2}, -1);
  for (const std::string layer : {"layers.0.", "layers.1."}) {
    model.add(layer + "attention.wq.weight", {heads * head_dim, dim}, 0);
    model.add(layer + "attention.wk.weight", {key_heads * head_dim, dim}, 0);
    model.add(layer + "attention.wv.weight", {key_heads * head_dim, dim}, 0);
    model.add(layer + "attention.wo.weight", {dim, heads * head_dim}, 1);
    model.add(layer + "feed_forward.w1.weight", {hidden, dim}, 0);
    model.add(layer + "feed_forward.w2.weight", {dim, hidden}, 1);
    model.add(layer + "feed_forward.w3.weight", {hidden, dim}, 0);
    model.add(layer + "attention_norm.weight", {dim}, -1);
    model.add(layer + "ffn_norm.weight", {dim}, -1);
  }
  return model;
}

// Returns the part of a tensor that rank `part` of `parts` has. Heads fewer than parts are repeated for neighbours.
TensorView part_of(const Model& model, const std::string& name, int part, int parts) {
  const TensorView& whole = model.whole.at(name);
  const auto cut = model.cut.find(name);
  if (cut == model.cut.end()) return whole;
  const std::int64_t distinct = std::min<std::int64_t>(
      parts, name.find("wk") != name.npos || name.find("wv") != name.npos ? whole.shape()[0] / head_dim : parts);
  return whole.shard(cut->second, part / (parts / distinct), distinct);
}

std::string file_of(const Model& model, int part, int parts) {
  SafetensorsBuilder builder;
  for (const auto& [name, whole] : model.whole) {
    const TensorView mine = part_of(model, name, part, parts);
    builder.add(name, "F32", {mine.shape().begin(), mine.shape().end()}, test::packed(values_of(mine)));
  }
  return builder.build();
}

void write_parts(const TempFolder& folder, const Model& model, int parts, const std::string& params) {
  for (int part = 0; part < parts; ++part)
    folder.write("consolidated." + std::string(part < 10 ? "0" : "") + std::to_string(part) + ".pth",
                 file_of(model, part, parts));
  folder.write("params.json", params);
}

std::string params_of(std::int64_t key_heads, const std::string& vocab_size) {
  return "{\"dim\": 8, \"n_layers\": 2, \"n_heads\": 4, \"n_kv_heads\": " + std::to_string(key_heads) +
         ", \"norm_eps\": 1e-05, \"vocab_size\": " + vocab_size + "}";
}

void check_equal(const Checkpoint& checkpoint, const Model& model) {
  CHECK(checkpoint.tensors().size() == model.whole.size());
  for (const auto& [name, whole] : model.whole) {
    INFO(name);
    const TensorView merged = checkpoint.tensor(name);
    CHECK(merged.name() == name);
    CHECK(merged.shape() == whole.shape());
    CHECK(values_of(merged) == values_of(whole));
  }
}

}  // namespace

TEST_CASE("meta: parts are one checkpoint, equal to the whole they were cut from") {
  struct Row {
    int parts;
    std::int64_t key_heads;
    Embeddings embeddings;
    std::string_view vocab_size;
  };
  for (const Row& row : {Row{2, 4, Embeddings::by_column, "-1"},
                         {2, 4, Embeddings::by_row, "16"},
                         {2, 2, Embeddings::by_row, "-1"},
                         {4, 4, Embeddings::by_column, "16"},
                         {8, 8, Embeddings::by_row, "16"},
                         {8, 2, Embeddings::by_row, "16"},
                         {8, 2, Embeddings::by_column, "-1"},
                         {4, 1, Embeddings::by_row, "16"}}) {
    // Eight ranks need eight query heads to share: their rows divide, whatever the heads.
    INFO(row.parts, " parts, ", row.key_heads, " key heads");
    const Model model = llama(row.key_heads, row.embeddings);
    const TempFolder folder;
    write_parts(folder, model, row.parts, params_of(row.key_heads, std::string(row.vocab_size)));
    const Checkpoint checkpoint = open(folder.path());
    check_equal(checkpoint, model);
    CHECK(checkpoint.shards().size() == static_cast<std::size_t>(row.parts));
    CHECK(checkpoint.notes().empty());
  }
}

TEST_CASE("meta: a repeated head is taken from one part, and a shard touches only the parts it needs") {
  const Model model = llama(2, Embeddings::by_row);
  const TempFolder folder;
  write_parts(folder, model, 8, params_of(2, "16"));
  const Checkpoint checkpoint = open(folder.path());
  CHECK(test::count_of_pieces(checkpoint.tensor("layers.0.attention.wk.weight")) == 2);
  CHECK(test::count_of_pieces(checkpoint.tensor("layers.0.attention.wq.weight")) == 8);
  const TensorView mine = checkpoint.tensor("layers.0.attention.wq.weight").shard(0, 3, 8);
  CHECK(mine.pieces().empty());
  CHECK(mine.shard_path().ends_with("consolidated.03.pth"));
  CHECK(mine.as<float>().size() == 8);
  CHECK(test::count_of_pieces(checkpoint.tensor("layers.0.attention.wq.weight").shard(0, 1, 4)) == 2);
}

TEST_CASE("meta: params.json is the metadata, and pieces outlive the checkpoint") {
  const TempFolder folder;
  const Model model = llama(4, Embeddings::by_row);
  std::string params = params_of(4, "-1");
  write_parts(folder, model, 2, params.replace(params.size() - 1, 1, R"(, "sizes": [1, 2]})"));
  TensorView kept;
  Record metadata;
  {
    const Checkpoint checkpoint = open(folder.path());
    kept = checkpoint.tensor("output.weight");
    metadata = checkpoint.metadata();
    CHECK(test::shape_of(checkpoint.root()["layers"][1]["attention"]["wo"]["weight"].tensor()) == Shape{dim, dim});
  }
  CHECK(kept.name() == "output.weight");
  CHECK(values_of(kept) == values_of(model.whole.at("output.weight")));
  CHECK(metadata["n_heads"].integer() == 4);
  CHECK(metadata["norm_eps"].real() == 1e-05);
  CHECK(metadata["sizes"][1].integer() == 2);
  // Numbers of JSON have no type.
  CHECK(thrown_by([&] { return metadata["sizes"].numbers(); }).code() == ErrorCode::type_mismatch);
}

TEST_CASE("meta: one consolidated file is opened as it is, with or without params.json") {
  const TempFolder folder;
  const Model model = llama(4, Embeddings::by_row);
  folder.write("consolidated.00.pth", file_of(model, 0, 1));
  check_equal(open(folder.path()), model);
  folder.write("params.json", "{}");
  check_equal(open(folder.path()), model);
}

TEST_CASE("meta: several parts need params.json") {
  const TempFolder folder;
  write_parts(folder, llama(4, Embeddings::by_row), 2, params_of(4, "16"));
  std::filesystem::remove(folder.path() / "params.json");
  CHECK(thrown_by([&] { return open(folder.path()); }).code() == ErrorCode::not_found);
  folder.write("params.json", "{\"dim\": 8");
  const Error error = thrown_by([&] { return open(folder.path()); });
  CHECK(error.code() == ErrorCode::corrupt);
  CHECK(error.path() == (folder.path() / "params.json").string());
}

TEST_CASE("meta: parts that contradict each other or params.json are corrupt") {
  const Model model = llama(4, Embeddings::by_row);
  const auto error_with = [&](const std::string& params, const std::string& second) {
    const TempFolder folder;
    write_parts(folder, model, 2, params);
    if (!second.empty()) folder.write("consolidated.01.pth", second);
    return thrown_by([&] { return open(folder.path()); });
  };
  CHECK(error_with("{\"dim\": 12, \"n_heads\": 4}", {}).code() == ErrorCode::corrupt);
  CHECK(error_with("{\"dim\": 8, \"n_heads\": 4, \"n_kv_heads\": 3}", {}).tensor() == "layers.0.attention.wk.weight");
  CHECK(error_with(params_of(4, "16"), file_of(model, 0, 1)).code() == ErrorCode::corrupt);
  CHECK(error_with(params_of(4, "16"), SafetensorsBuilder().add("x", "U8", {1}, "x").build()).code() ==
        ErrorCode::corrupt);
  Model other = model;
  other.whole.erase("norm.weight");
  other.add("norm.bias", {dim}, -1);
  const Error lacking = error_with(params_of(4, "16"), file_of(other, 1, 2));
  CHECK(lacking.code() == ErrorCode::corrupt);
  CHECK(lacking.tensor() == "norm.weight");
}

TEST_CASE("meta: a tensor without a rule is listed for each part, with a note") {
  Model model = llama(4, Embeddings::by_row);
  model.add("vision.gate", {4}, 0);
  const TempFolder folder;
  write_parts(folder, model, 2, params_of(4, "16"));
  const Checkpoint checkpoint = open(folder.path());
  CHECK(!checkpoint.find("vision.gate"));
  CHECK(values_of(checkpoint.tensor("consolidated.01.vision.gate")) == values_of(part_of(model, "vision.gate", 1, 2)));
  REQUIRE(checkpoint.notes().size() == 1);
  CHECK(checkpoint.notes()[0].find("vision.gate") != std::string::npos);
}
