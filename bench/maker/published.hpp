// bench/maker/published.hpp: names and shapes of published models, one function per family.
#pragma once

#include <vector>

#include "maker/model.hpp"

namespace bench {

struct LlamaShape {
  std::int64_t layers, hidden, intermediate, kv_width, vocabulary;
  bool tied;  ///< The output matrix is the embedding and is not stored.
};

/// Meta's Llama 3 family as on Hugging Face.
std::vector<Tensor> llama(const LlamaShape& shape);

/// The same with the names and the mixture of Q4_K, Q6_K and f32 of llama.cpp's `llama-quantize ... Q4_K_M`.
std::vector<Tensor> llama_q4_k_m(const LlamaShape& shape);

/// DeepSeek-V3: 61 layers of latent attention, 58 with 256 routed experts, one multi-token-prediction layer; fp8 with
/// scales of 128 x 128 blocks.
std::vector<Tensor> deepseek_v3();

/// torchvision's ResNet-152, batch norms' buffers included.
std::vector<Tensor> resnet_152();

}  // namespace bench
