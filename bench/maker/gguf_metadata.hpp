// bench/maker/gguf_metadata.hpp: the key-value pairs that llama.cpp's converter writes for a Llama 3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "maker/model.hpp"

namespace bench {

struct GgufMetadata {
  std::uint64_t pairs = 0;
  std::vector<std::byte> bytes;  ///< In the encoding of GGUF version 3.
};

/// Returns the architecture alone; for a model with a vocabulary also its parameters and a tokenizer with that many
/// tokens and types, and 280,147 merges. Tokens are generated words of usual lengths.
GgufMetadata gguf_metadata(const Model& model);

}  // namespace bench
