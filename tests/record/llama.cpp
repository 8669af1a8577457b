// One struct for a Llama, filled from what Hugging Face, Meta and llama.cpp publish: other names, other formats, the
// same tensors.
#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

#include "heft/bind.hpp"
#include "heft/remap.hpp"
#include "record/support.hpp"
#include "support/gguf_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/torch_builder.hpp"

using namespace heft;
using test::TempFolder;

namespace {

// ---- what a user writes ----

struct Linear {
  TensorView weight;
  std::optional<Slice<bf16>> bias;
  void describe(auto& f) {
    f("weight", weight).dtype(DType::bf16);
    f("bias", bias);
  }
};

struct Norm {
  Slice<float> gamma;
  void describe(auto& f) { f("gamma", gamma).alias("weight"); }
};

struct Attention {
  Linear q, k, v, o;
  void describe(auto& f) {
    f("q_proj", q);
    f("k_proj", k);
    f("v_proj", v);
    f("o_proj", o);
  }
};

struct FeedForward {
  Linear gate, up, down;
  void describe(auto& f) {
    f("gate_proj", gate);
    f("up_proj", up);
    f("down_proj", down);
  }
};

struct Block {
  Norm before_attention, before_feed_forward;
  Attention attention;
  FeedForward feed_forward;
  void describe(auto& f) {
    f("input_layernorm", before_attention);
    f("self_attn", attention);
    f("post_attention_layernorm", before_feed_forward);
    f("mlp", feed_forward);
  }
};

struct Llama {
  TensorView embedding;
  std::vector<Block> blocks;
  Norm norm;
  std::optional<TensorView> head;
  void describe(auto& f) {
    f("model.embed_tokens.weight", embedding);
    f("model.layers", blocks);
    f("model.norm", norm);
    f("lm_head.weight", head);
  }
};

// What Meta and llama.cpp call them, and Hugging Face.
Remapping from_meta() {
  Remapping names;
  names.add("^tok_embeddings\\.", "model.embed_tokens.")
      .add("^norm\\.", "model.norm.")
      .add("^output\\.", "lm_head.")
      .add("^layers\\.", "model.layers.");
  names.add("\\.attention\\.w([qkvo])\\.", ".self_attn.${1}_proj.");
  names.add("\\.feed_forward\\.w1\\.", ".mlp.gate_proj.")
      .add("\\.feed_forward\\.w2\\.", ".mlp.down_proj.")
      .add("\\.feed_forward\\.w3\\.", ".mlp.up_proj.");
  names.add("\\.attention_norm\\.", ".input_layernorm.").add("\\.ffn_norm\\.", ".post_attention_layernorm.");
  return names;
}

Remapping from_gguf() {
  Remapping names;
  names.add("^token_embd\\.", "model.embed_tokens.")
      .add("^output_norm\\.", "model.norm.")
      .add("^output\\.", "lm_head.")
      .add("^blk\\.", "model.layers.");
  names.add("\\.attn_([qkv])\\.", ".self_attn.${1}_proj.").add("\\.attn_output\\.", ".self_attn.o_proj.");
  names.add("\\.ffn_(gate|up|down)\\.", ".mlp.${1}_proj.");
  names.add("\\.attn_norm\\.", ".input_layernorm.").add("\\.ffn_norm\\.", ".post_attention_layernorm.");
  return names;
}

// ---- the three files ----

constexpr int layers = 12;  // two digits: lists are in the order of numbers, not of text
constexpr std::int64_t hidden = 8, inner = 12, keys = 4, words = 16;

// A tensor under its three names. One of bf16 unless it is a norm's.
struct Entry {
  std::string hugging_face, meta, gguf;
  std::vector<std::int64_t> shape;
};

std::vector<Entry> entries() {
  std::vector<Entry> all = {
      {"model.embed_tokens.weight", "tok_embeddings.weight", "token_embd.weight", {words, hidden}},
      {"model.norm.weight", "norm.weight", "output_norm.weight", {hidden}},
      {"lm_head.weight", "output.weight", "output.weight", {words, hidden}}};
  const std::vector<Entry> in_layer = {
      {"input_layernorm.weight", "attention_norm.weight", "attn_norm.weight", {hidden}},
      {"self_attn.q_proj.weight", "attention.wq.weight", "attn_q.weight", {hidden, hidden}},
      {"self_attn.k_proj.weight", "attention.wk.weight", "attn_k.weight", {keys, hidden}},
      {"self_attn.v_proj.weight", "attention.wv.weight", "attn_v.weight", {keys, hidden}},
      {"self_attn.o_proj.weight", "attention.wo.weight", "attn_output.weight", {hidden, hidden}},
      {"post_attention_layernorm.weight", "ffn_norm.weight", "ffn_norm.weight", {hidden}},
      {"mlp.gate_proj.weight", "feed_forward.w1.weight", "ffn_gate.weight", {inner, hidden}},
      {"mlp.down_proj.weight", "feed_forward.w2.weight", "ffn_down.weight", {hidden, inner}},
      {"mlp.up_proj.weight", "feed_forward.w3.weight", "ffn_up.weight", {inner, hidden}}};
  for (int i = layers; i-- > 0;) {
    const std::string number = std::to_string(i) + ".";
    for (const Entry& entry : in_layer)
      all.push_back({"model.layers." + number + entry.hugging_face, "layers." + number + entry.meta,
                     "blk." + number + entry.gguf, entry.shape});
    // As Qwen has it: some projections with a bias.
    if (i % 2 == 0)
      all.push_back({"model.layers." + number + "self_attn.k_proj.bias",
                     "layers." + number + "attention.wk.bias",
                     "blk." + number + "attn_k.bias",
                     {keys}});
  }
  return all;
}

bool is_norm(const Entry& entry) { return entry.hugging_face.find("norm.") != std::string::npos; }

std::string payload_of(const Entry& entry, std::size_t number) {
  std::size_t bytes = is_norm(entry) ? 4 : 2;
  for (const std::int64_t dim : entry.shape) bytes *= static_cast<std::size_t>(dim);
  return test::pattern(bytes, static_cast<std::uint32_t>(number + 1));
}

std::string as_safetensors() {
  test::SafetensorsBuilder builder;
  builder.align(64);
  const std::vector<Entry> all = entries();
  for (const bool norms : {true, false})
    for (std::size_t i = 0; i < all.size(); ++i)
      if (is_norm(all[i]) == norms)
        builder.add(all[i].hugging_face, norms ? "F32" : "BF16", all[i].shape, payload_of(all[i], i));
  return builder.build();
}

std::string as_torch() {
  test::TorchBuilder builder;
  const std::vector<Entry> all = entries();
  for (std::size_t i = 0; i < all.size(); ++i)
    builder.tensor(all[i].meta, is_norm(all[i]) ? "FloatStorage" : "BFloat16Storage", all[i].shape,
                   payload_of(all[i], i));
  return builder.build();
}

std::string as_gguf() {
  constexpr std::uint32_t f32 = 0, bf16 = 30;
  test::GgufBuilder builder;
  builder.text("general.architecture", "llama");
  const std::vector<Entry> all = entries();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::vector<std::uint64_t> innermost_first(all[i].shape.rbegin(), all[i].shape.rend());
    builder.tensor(all[i].gguf, innermost_first, is_norm(all[i]) ? f32 : bf16, payload_of(all[i], i));
  }
  return builder.build();
}

Checkpoint opened(const char* name, const std::string& file) {
  const TempFolder folder;
  return open(folder.write(name, file));
}

// Every tensor of the struct is the entry's, byte for byte.
void check_filled(const Llama& llama) {
  const FieldList fields = fields_of(llama);
  const std::vector<Entry> all = entries();
  CHECK(fields.tensors.size() == all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::string name = all[i].hugging_face;
    if (is_norm(all[i])) name.replace(name.rfind("weight"), 6, "gamma");
    CAPTURE(name);
    const auto found = std::find_if(fields.tensors.begin(), fields.tensors.end(),
                                    [&](const TensorView& view) { return view.name() == name; });
    REQUIRE(found != fields.tensors.end());
    CHECK(found->shape() == Shape(all[i].shape));
    const Bytes bytes = found->bytes();
    CHECK((std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size_bytes()) == payload_of(all[i], i)));
  }
}

void check_bind(const Checkpoint& checkpoint) {
  Llama llama;
  const BindReport report = bind(checkpoint, llama, {.strict = Strict::yes});
  CHECK(report.applied.size() == entries().size());
  CHECK(report.unused.empty());
  REQUIRE(llama.blocks.size() == layers);
  CHECK(llama.blocks[10].attention.k.bias.has_value());
  CHECK_FALSE(llama.blocks[11].attention.k.bias.has_value());
  CHECK_FALSE(llama.blocks[10].attention.q.bias.has_value());
  // Views of the file, not copies.
  CHECK(llama.embedding.shares_storage_with(checkpoint.tensor("model.embed_tokens.weight")));
  check_filled(llama);
}

}  // namespace

TEST_CASE("llama: one struct binds from safetensors as Hugging Face names it") {
  check_bind(opened("model.safetensors", as_safetensors()));
}

TEST_CASE("llama: the same struct binds from PyTorch's .pth as Meta names it, by remapping alone") {
  check_bind(remap(opened("consolidated.pth", as_torch()), from_meta()));
}

TEST_CASE("llama: the same struct binds from GGUF as llama.cpp names it, by remapping alone") {
  check_bind(remap(opened("model.gguf", as_gguf()), from_gguf()));
}

TEST_CASE("llama: a file that lacks a tensor of one block fills nothing, and the error names its full path") {
  const Checkpoint whole = opened("model.safetensors", as_safetensors());
  const Checkpoint lacking =
      adapt(whole, {},
            Filter().where([](const TensorView& view) { return view.name() != "model.layers.7.mlp.up_proj.weight"; }));
  Llama llama;
  const BindReport report = try_bind(lacking.root(), llama);
  REQUIRE(report.errors.size() == 1);
  CHECK(report.errors[0].path == "model.layers.7.mlp.up_proj");
  CHECK(report.errors[0].code == ErrorCode::not_found);
  CHECK(report.skipped == std::vector<std::string>{"model.layers.7.mlp.up_proj.weight"});
  CHECK(llama.blocks.empty());
}
