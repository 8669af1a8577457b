// format/file_plan.hpp: the contents of a file before it is written: every byte except the payloads of its tensors,
// whose offsets and sizes are known.
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

/// Name, dtype and shape that a file will declare for a tensor.
struct TensorSpec {
  std::string name;
  DType dtype = DType::unknown;
  Shape shape;
};

/// Bytes of a file other than payloads: a header, a directory.
struct ByteSegment {
  std::uint64_t offset = 0;
  std::string bytes;
};

/// The place in the file of a tensor's packed bytes.
struct Payload {
  std::uint32_t tensor = 0;  ///< Position among the specs.
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint32_t crc_seed = 0;  ///< CRC-32 of the bytes before the payload that its checksum covers.
};

/// A file to be written. Bytes that neither a segment nor a payload covers are zeros.
struct FilePlan {
  std::vector<ByteSegment> segments;  ///< By offset.
  std::vector<Payload> payloads;      ///< By offset, one for each tensor.
  std::uint64_t size_bytes = 0;
  /// Returns the segments that depend on the payloads. `checksums` holds the CRC-32 of each payload (continued from its
  /// seed) in the order of `payloads`. Null for formats without checksums. The bytes of these segments are zeros in the
  /// file until it is called.
  std::function<std::vector<ByteSegment>(std::span<const std::uint32_t> checksums)> finish = {};
};

/// The pairs of safetensors' __metadata__, each key once.
using TextMetadata = std::vector<std::pair<std::string, std::string>>;

/// A key-value pair of GGUF's metadata.
struct GgufPair {
  std::string key;
  gguf::ValueType type = gguf::ValueType::string;
  std::string value;  ///< Encoded as in version 3, little-endian.
};

/// Returns true if the format can store elements of that dtype.
bool safetensors_has(DType dtype) noexcept;
bool gguf_has(DType dtype) noexcept;
bool npz_has(DType dtype) noexcept;

/// Returns the plan of a file that holds `tensors`. Throws Error{unsupported}, naming the tensor, for a dtype, a name
/// or a shape that the format cannot represent; Error{ambiguous} for two tensors of one name; Error{limit_exceeded} for
/// a header that readers would refuse.
FilePlan safetensors_file_plan(std::span<const TensorSpec> tensors, const TextMetadata& metadata);
/// The same for GGUF. Tensors keep the given order; their data is aligned to `general.alignment` if the metadata has
/// it, else to 32.
FilePlan gguf_file_plan(std::span<const TensorSpec> tensors, std::span<const GgufPair> metadata);
/// The same for NPZ. Members are stored without compression, in the given order, with elements at multiples of 64.
/// Requires at least one tensor: an empty zip does not show that it is an NPZ file.
FilePlan npz_file_plan(std::span<const TensorSpec> tensors);

/// Returns the index of a checkpoint in shards: `{"metadata": {"total_size": N}, "weight_map": {name: file}}`, with the
/// pairs in the given order.
std::string index_json(std::uint64_t total_size, std::span<const std::pair<std::string, std::string>> weight_map);

}  // namespace heft::format
