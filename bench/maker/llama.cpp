// Names and shapes of Llama 3 (Hugging Face's `LlamaForCausalLM`), in the order of its modules; and with the names and
// block types of llama.cpp.
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

/// llama.cpp's use_more_bits(): the first and last eighth of the layers, and every third between.
bool has_more_bits(std::int64_t layer, std::int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

void add_quantized_layer(std::vector<Tensor>& out, const LlamaShape& s, std::int64_t layer) {
  const Kind better = has_more_bits(layer, s.layers) ? Kind::q6_k : Kind::q4_k;
  auto add = [&](std::string_view part, Kind kind, std::vector<std::int64_t> shape) {
    out.push_back({fmt::format("blk.{}.{}.weight", layer, part), kind, std::move(shape)});
  };
  add("attn_norm", Kind::f32, {s.hidden});
  add("ffn_down", better, {s.hidden, s.intermediate});
  add("ffn_gate", Kind::q4_k, {s.intermediate, s.hidden});
  add("ffn_up", Kind::q4_k, {s.intermediate, s.hidden});
  add("ffn_norm", Kind::f32, {s.hidden});
  add("attn_k", Kind::q4_k, {s.kv_width, s.hidden});
  add("attn_output", Kind::q4_k, {s.hidden, s.hidden});
  add("attn_q", Kind::q4_k, {s.hidden, s.hidden});
  add("attn_v", better, {s.kv_width, s.hidden});
}

}  // namespace

std::vector<Tensor> llama_q4_k_m(const LlamaShape& shape) {
  std::vector<Tensor> out;
  out.push_back({"token_embd.weight", Kind::q4_k, {shape.vocabulary, shape.hidden}});
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) add_quantized_layer(out, shape, layer);
  out.push_back({"output_norm.weight", Kind::f32, {shape.hidden}});
  out.push_back({"output.weight", Kind::q6_k, {shape.vocabulary, shape.hidden}});
  return out;
}

std::vector<Tensor> llama(const LlamaShape& shape) {
  std::vector<Tensor> out;
  out.push_back({"model.embed_tokens.weight", Kind::bf16, {shape.vocabulary, shape.hidden}});
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) add_layer(out, shape, layer);
  out.push_back({"model.norm.weight", Kind::bf16, {shape.hidden}});
  if (!shape.tied) out.push_back({"lm_head.weight", Kind::bf16, {shape.vocabulary, shape.hidden}});
  return out;
}

}  // namespace bench
