// bench/bind_subject.hpp: the struct of a Llama that heft-micro binds, and a checkpoint of its 292 tensors. The tensors
// are tiny, because binding makes views and does not depend on sizes.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "heft/bind.hpp"
#include "heft/checkpoint.hpp"

namespace bench {

struct Norm {
  heft::Slice<heft::bf16> weight;
  void describe(auto& f) { f("weight", weight); }
};

struct Linear {
  heft::TensorView weight;
  std::optional<heft::TensorView> bias;
  void describe(auto& f) {
    f("weight", weight).dtype(heft::DType::bf16);
    f("bias", bias);
  }
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
  heft::TensorView embedding, head, frequencies;
  std::vector<Block> blocks;
  Norm norm;
  void describe(auto& f) {
    f("model.embed_tokens.weight", embedding);
    f("model.layers", blocks);
    f("model.norm", norm);
    f("lm_head.weight", head);
    f("rope.freqs", frequencies);
  }
};

inline constexpr std::size_t llama_tensors = 292;

/// Returns the opened checkpoint. Its file is already removed from the disk.
heft::Checkpoint tiny_llama();

}  // namespace bench
