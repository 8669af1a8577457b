// format/file_plan.hpp: what a file will consist of, byte for byte but for the tensors' payloads, before anything is
// written.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "format/gguf/metadata.hpp"
#include "heft/dtype.hpp"
#include "heft/shape.hpp"

namespace heft::format {

/// A tensor as a file will declare it.
struct TensorSpec {
  std::string name;
  DType dtype = DType::unknown;
  Shape shape;
};

/// Bytes of a file that are no payload: headers, directories.
struct Text {
  std::uint64_t offset = 0;
  std::string bytes;
};

/// Where the packed bytes of a tensor go.
struct Payload {
  std::uint32_t tensor = 0;    ///< Position among the declarations.
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint32_t crc_seed = 0;  ///< CRC-32 of what a checksum covers before the payload.
};

/// A file to be. What neither a text nor a payload covers is zeros.
struct FilePlan {
  std::vector<Text> texts;        ///< By offset.
  std::vector<Payload> payloads;  ///< By offset, one for each tensor.
  std::uint64_t size_bytes = 0;
  /// Texts that can be written only when all payloads are, given the CRC-32 of each (continued from its seed), in the
  /// order of `payloads`. Null for formats without checksums. What they cover is zeros until then.
  std::function<std::vector<Text>(std::span<const std::uint32_t> checksums)> finish = {};
};

/// Pairs of safetensors' __metadata__, each key once.
using TextMetadata = std::vector<std::pair<std::string, std::string>>;

/// A pair of GGUF's metadata.
struct GgufPair {
  std::string key;
  gguf::ValueType type = gguf::ValueType::string;
  std::string value;  ///< In version 3's bytes, little-endian.
};

/// True when the format has elements of that dtype.
bool safetensors_has(DType dtype) noexcept;
bool gguf_has(DType dtype) noexcept;
bool npz_has(DType dtype) noexcept;

/// The plan of a file of each format. All throw Error{unsupported}, naming the tensor, for a dtype, a name or a shape that the
/// format cannot say; Error{ambiguous} for two tensors of one name; Error{limit_exceeded} for a header that readers
/// would refuse.
FilePlan safetensors_file_plan(std::span<const TensorSpec> tensors, const TextMetadata& metadata);
/// Tensors in the order given, on `general.alignment`, if the metadata has it, else on 32.
FilePlan gguf_file_plan(std::span<const TensorSpec> tensors, std::span<const GgufPair> metadata);
/// Stored members in the order given, their items at multiples of 64. Needs at least one tensor: a zip without any says
/// nothing of its format.
FilePlan npz_file_plan(std::span<const TensorSpec> tensors);

/// The index of a checkpoint in shards: `{"metadata": {"total_size": N}, "weight_map": {name: file}}`, the pairs in
/// their order.
std::string index_json(std::uint64_t total_size, std::span<const std::pair<std::string, std::string>> weight_map);

}  // namespace heft::format
