#include "bind_subject.hpp"

#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "heft/save.hpp"

namespace bench {
namespace {

constexpr int layers = 32;
constexpr const char* in_layer[] = {"input_layernorm",  "self_attn.q_proj", "self_attn.k_proj",
                                    "self_attn.v_proj", "self_attn.o_proj", "post_attention_layernorm",
                                    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

std::vector<std::string> names() {
  std::vector<std::string> all = {"model.embed_tokens.weight", "lm_head.weight", "rope.freqs", "model.norm.weight"};
  for (int layer = 0; layer < layers; ++layer)
    for (const char* module : in_layer) all.push_back(fmt::format("model.layers.{}.{}.weight", layer, module));
  return all;
}

}  // namespace

heft::Checkpoint tiny_llama() {
  std::vector<heft::SaveItem> items;
  const std::vector<std::uint16_t> zeros(4);
  const heft::Bytes bytes = heft::Bytes::copy_of(std::as_bytes(std::span(zeros)));
  for (const std::string& name : names())
    items.emplace_back(heft::TensorView::over(name, heft::DType::bf16, heft::Shape{4}, bytes));
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("heft-micro-{}.safetensors", ::getpid());
  static_cast<void>(heft::save(items, path));
  heft::Checkpoint opened = heft::open(path);
  std::filesystem::remove(path);
  return opened;
}

}  // namespace bench
