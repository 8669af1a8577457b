// A whole Llama is cut into Meta's folders and put together again, to the byte.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/materialize.hpp"
#include "support/safetensors_builder.hpp"
#include "support/same_bytes.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/torch_builder.hpp"

using namespace heft;
using test::TempFolder;

namespace {

// Sizes that 8 ranks divide, and no two dims alike.
constexpr std::int64_t dim = 64, heads = 16, key_heads = 8, head_dim = 4, hidden = 96, vocab = 80, layers = 2;
constexpr int replicated = -1;

struct Part {
  std::string name;
  std::vector<std::int64_t> shape;
  int cut;  // dim along which the ranks share it
};

std::vector<Part> llama(int embeddings_cut) {
  std::vector<Part> parts = {{"tok_embeddings.weight", {vocab, dim}, embeddings_cut},
                             {"norm.weight", {dim}, replicated},
                             {"output.weight", {vocab, dim}, 0},
                             {"rope.freqs", {head_dim / 2}, replicated}};
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const std::string stem = "layers." + std::to_string(layer) + ".";
    parts.insert(parts.end(), {{stem + "attention.wq.weight", {heads * head_dim, dim}, 0},
                               {stem + "attention.wk.weight", {key_heads * head_dim, dim}, 0},
                               {stem + "attention.wv.weight", {key_heads * head_dim, dim}, 0},
                               {stem + "attention.wo.weight", {dim, heads * head_dim}, 1},
                               {stem + "feed_forward.w1.weight", {hidden, dim}, 0},
                               {stem + "feed_forward.w2.weight", {dim, hidden}, 1},
                               {stem + "feed_forward.w3.weight", {hidden, dim}, 0},
                               {stem + "attention_norm.weight", {dim}, replicated},
                               {stem + "ffn_norm.weight", {dim}, replicated}});
  }
  return parts;
}

std::string whole_file(const std::vector<Part>& parts) {
  test::TorchBuilder file;
  std::uint16_t next = 1;
  for (const Part& part : parts) {
    std::int64_t count = 1;
    for (const std::int64_t size : part.shape) count *= size;
    std::vector<std::uint16_t> bits(static_cast<std::size_t>(count));
    for (std::uint16_t& value : bits)
      value = static_cast<std::uint16_t>(next++ * 40503u & 0x7F7F);  // finite bf16, no two neighbours alike
    file.tensor(part.name, "BFloat16Storage", part.shape, test::packed(bits));
  }
  return file.build();
}

/// Rank `rank` of `ranks`, cut from the whole by heft's own slices, whose bytes other tests compare with a plain loop.
std::string part_file(const Checkpoint& whole, const std::vector<Part>& parts, int rank, int ranks) {
  test::TorchBuilder file;
  for (const Part& part : parts) {
    TensorView mine = whole.tensor(part.name);
    if (part.cut != replicated) mine = mine.shard(static_cast<std::size_t>(part.cut), rank, ranks);
    const Tensor packed = materialize(mine);
    file.tensor(part.name, "BFloat16Storage", {mine.shape().begin(), mine.shape().end()},
                std::string(reinterpret_cast<const char*>(packed.bytes().data()), packed.bytes().size()));
  }
  return file.build();
}

std::string part_name(int rank) { return "consolidated.0" + std::to_string(rank) + ".pth"; }

/// The folder Meta would publish, and the whole it was cut from.
struct Cut {
  TempFolder folder;
  std::vector<Part> parts;
  Checkpoint whole;

  Cut(int embeddings_cut, int ranks, const std::string& vocab_size)
      : parts(llama(embeddings_cut)), whole(open(folder.write("whole.pt", whole_file(parts)))) {
    for (int rank = 0; rank < ranks; ++rank)
      folder.write("parts/" + part_name(rank), part_file(whole, parts, rank, ranks));
    folder.write("parts/params.json", R"({"dim": 64, "n_layers": 2, "n_heads": 16, "n_kv_heads": 8, "vocab_size": )" +
                                          vocab_size +
                                          R"(, "multiple_of": 8, "norm_eps": 1e-05, "rope_theta": 500000.0})");
  }
  [[nodiscard]] std::filesystem::path path() const { return folder.path() / "parts"; }
};

bool same_bytes(const Tensor& a, const Tensor& b) { return test::same_bytes(a.bytes(), b.bytes()); }

Weights load(const Checkpoint& checkpoint, const MaterializeOptions& options = {}) {
  LoadPlan plan;
  for (const TensorView& view : checkpoint.tensors()) plan.add(view);
  return materialize(plan, options);
}

}  // namespace

TEST_CASE("meta: 2 and 8 parts materialize to exactly the whole, whichever way tok_embeddings is cut") {
  for (const int ranks : {2, 8})
    for (const int embeddings_cut : {0, 1})
      for (const char* vocab_size : {"80", "-1"}) {
        INFO(ranks << " parts, tok_embeddings along " << embeddings_cut << ", vocab_size " << vocab_size);
        const Cut cut(embeddings_cut, ranks, vocab_size);
        const Checkpoint merged = open(cut.path());
        CHECK(merged.shards().size() == static_cast<std::size_t>(ranks));
        REQUIRE(merged.tensors().size() == cut.parts.size());
        const Weights expected = load(cut.whole);
        for (const IoMethod path : {IoMethod::automatic, IoMethod::map, IoMethod::read}) {
          const Weights found = load(merged, {.threads = 2, .io_method = path});
          for (const Part& part : cut.parts) {
            INFO(part.name);
            const TensorView made = merged.tensor(part.name);
            CHECK(made.shape() == Shape(std::span(part.shape)));
            CHECK(same_bytes(found[part.name], expected[part.name]));
          }
        }
      }
}

TEST_CASE("meta: a rank's shard of every tensor needs its own part and no other") {
  constexpr int ranks = 8, mine = 3;
  const Cut cut(0, ranks, "80");
  const Checkpoint merged = open(cut.path());
  LoadPlan one, all;
  std::uint64_t bytes = 0;
  for (const Part& part : cut.parts) {
    const TensorView view = merged.tensor(part.name);
    if (part.cut == replicated) continue;
    const TensorView shard = view.shard(static_cast<std::size_t>(part.cut), mine, ranks);
    CHECK(shard.shard_path().ends_with(part_name(mine)));
    bytes += shard.size_bytes();
    one.add(shard);
    all.add(view);
  }
  CHECK(one.estimate().bytes_read >= bytes);
  // and what lies between its tensors
  CHECK(one.estimate().bytes_read <= std::filesystem::file_size(cut.path() / part_name(mine)));
  // The others' bytes are gone: a load that needs them must fail, and this rank's does not.
  for (int rank = 0; rank < ranks; ++rank)
    if (rank != mine) std::filesystem::resize_file(cut.path() / part_name(rank), 0);
  const Weights found = materialize(one);
  for (const Part& part : cut.parts) {
    if (part.cut == replicated) continue;
    INFO(part.name);
    CHECK(same_bytes(found[part.name],
                     materialize(cut.whole.tensor(part.name).shard(static_cast<std::size_t>(part.cut), mine, ranks))));
  }
  CHECK(test::thrown_by([&] { return materialize(all); }).code() == ErrorCode::changed_on_disk);
}
