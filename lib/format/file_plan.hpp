// format/file_plan.hpp: the contents of a file before it is written: every byte except the payloads of its tensors,
// whose offsets and sizes are known.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "heft/dtype.hpp"
#include "heft/shape.hpp"

namespace heft::format {

/// Name, dtype and shape that a file will declare for a tensor.
struct TensorDeclaration {
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

}  // namespace heft::format
