// Names and shapes of Llama 3 (Hugging Face's `LlamaForCausalLM`), in the order of its modules.
#include <fmt/format.h>

#include "maker/published.hpp"

namespace bench {

namespace {

void add_layer(std::vector<Tensor>& out, const LlamaShape& s, std::int64_t layer) {
  auto add = [&](std::string_view part, std::vector<std::int64_t> shape) {
    out.push_back({fmt::format("model.layers.{}.{}.weight", layer, part), Kind::bf16, std::move(shape)});
  };
  add("self_attn.q_proj", {s.hidden, s.hidden});
  add("self_attn.k_proj", {s.kv_width, s.hidden});
  add("self_attn.v_proj", {s.kv_width, s.hidden});
  add("self_attn.o_proj", {s.hidden, s.hidden});
  add("mlp.gate_proj", {s.intermediate, s.hidden});
  add("mlp.up_proj", {s.intermediate, s.hidden});
  add("mlp.down_proj", {s.hidden, s.intermediate});
  add("input_layernorm", {s.hidden});
  add("post_attention_layernorm", {s.hidden});
}

}  // namespace

std::vector<Tensor> llama(const LlamaShape& shape) {
  std::vector<Tensor> out;
  out.push_back({"model.embed_tokens.weight", Kind::bf16, {shape.vocabulary, shape.hidden}});
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) add_layer(out, shape, layer);
  out.push_back({"model.norm.weight", Kind::bf16, {shape.hidden}});
  if (!shape.tied) out.push_back({"lm_head.weight", Kind::bf16, {shape.vocabulary, shape.hidden}});
  return out;
}

}  // namespace bench
