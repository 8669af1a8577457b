// bench/maker/gguf_metadata.hpp: the key-value pairs that llama.cpp's converter gives a Llama 3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "maker/model.hpp"

namespace bench {

struct GgufMetadata {
  std::uint64_t pairs = 0;
  std::vector<std::byte> bytes;  ///< As GGUF version 3 has them.
};

/// The architecture alone; for a model with a vocabulary also its numbers and a tokenizer: as many tokens and types,
/// and 280,147 merges. Tokens are made words of the usual lengths.
GgufMetadata gguf_metadata(const Model& model);

}  // namespace bench
