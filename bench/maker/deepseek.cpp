// Names and shapes of DeepSeek-V3 as published: every large matrix in fp8, with a `weight_scale_inv` of one f32 per
// block of 128 x 128.
#include <fmt/format.h>

#include "maker/published.hpp"

namespace bench {

namespace {

constexpr std::int64_t layers = 61, dense_layers = 3, experts = 256, hidden = 7168, vocabulary = 129280;
constexpr std::int64_t dense_width = 18432, expert_width = 2048;

class Layer {
 public:
  Layer(std::vector<Tensor>& out, std::int64_t number) : out_(out), prefix_(fmt::format("model.layers.{}.", number)) {}

  void plain(std::string_view part, std::vector<std::int64_t> shape, Kind kind = Kind::bf16) {
    out_.push_back({fmt::format("{}{}", prefix_, part), kind, std::move(shape)});
  }

  void quantized(std::string_view part, std::int64_t rows, std::int64_t columns) {
    plain(fmt::format("{}.weight", part), {rows, columns}, Kind::f8_e4m3);
    plain(fmt::format("{}.weight_scale_inv", part), {(rows + 127) / 128, (columns + 127) / 128}, Kind::f32);
  }

  void mlp(std::string_view part, std::int64_t width) {
    quantized(fmt::format("{}.gate_proj", part), width, hidden);
    quantized(fmt::format("{}.up_proj", part), width, hidden);
    quantized(fmt::format("{}.down_proj", part), hidden, width);
  }

  void attention() {
    quantized("self_attn.q_a_proj", 1536, hidden);
    plain("self_attn.q_a_layernorm.weight", {1536});
    quantized("self_attn.q_b_proj", 24576, 1536);
    quantized("self_attn.kv_a_proj_with_mqa", 576, hidden);
    plain("self_attn.kv_a_layernorm.weight", {512});
    quantized("self_attn.kv_b_proj", 32768, 512);
    quantized("self_attn.o_proj", hidden, 16384);
  }

  void mixture() {
    plain("mlp.gate.weight", {experts, hidden});
    plain("mlp.gate.e_score_correction_bias", {experts}, Kind::f32);
    for (std::int64_t expert = 0; expert < experts; ++expert) mlp(fmt::format("mlp.experts.{}", expert), expert_width);
    mlp("mlp.shared_experts", expert_width);
  }

  void norms() {
    plain("input_layernorm.weight", {hidden});
    plain("post_attention_layernorm.weight", {hidden});
  }

  void next_token_head() {
    plain("embed_tokens.weight", {vocabulary, hidden});
    plain("enorm.weight", {hidden});
    plain("hnorm.weight", {hidden});
    plain("eh_proj.weight", {hidden, 2 * hidden});
    plain("shared_head.norm.weight", {hidden});
    plain("shared_head.head.weight", {vocabulary, hidden});
  }

 private:
  std::vector<Tensor>& out_;
  std::string prefix_;
};

}  // namespace

std::vector<Tensor> deepseek_v3() {
  std::vector<Tensor> out;
  out.push_back({"model.embed_tokens.weight", Kind::bf16, {vocabulary, hidden}});
  for (std::int64_t number = 0; number <= layers; ++number) {  // the last one, number 61, is for multi-token prediction
    Layer layer(out, number);
    layer.attention();
    if (number < dense_layers)
      layer.mlp("mlp", dense_width);
    else
      layer.mixture();
    layer.norms();
    if (number == layers) layer.next_token_head();
  }
  out.push_back({"model.norm.weight", Kind::bf16, {hidden}});
  out.push_back({"lm_head.weight", Kind::bf16, {vocabulary, hidden}});
  return out;
}

}  // namespace bench
