// Makes Burn's .bpk files in memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "support/cbor_builder.hpp"
#include "support/zip_builder.hpp"

namespace heft::test::burnpack {

/// Returns a file with the metadata: padded as by Burn since 0.20, or without padding as by 0.19.
inline std::string file(const std::string& metadata, const std::string& data, bool padded = true,
                        unsigned version = 1) {
  std::string bytes = "NRUB" + little(version, 2) + little(metadata.size(), 4) + metadata;
  if (padded) bytes.resize((bytes.size() + 255) / 256 * 256);
  return bytes + data;
}

/// Returns the description of a tensor; `dtype` is CBOR.
inline std::string tensor(const std::string& dtype, const std::vector<std::uint64_t>& dims, std::uint64_t begin,
                          std::uint64_t end) {
  std::vector<std::string> shape;
  for (const std::uint64_t dim : dims) shape.push_back(cbor::natural(dim));
  return cbor::map({cbor::text("dtype"), dtype, cbor::text("shape"), cbor::list(shape), cbor::text("data_offsets"),
                    cbor::list({cbor::natural(begin), cbor::natural(end)})});
}

/// Returns metadata of names and descriptions in turn, then `more_pairs` encoded pairs.
inline std::string metadata(const std::vector<std::string>& tensors, const std::string& more = {},
                            std::uint64_t more_pairs = 0) {
  return cbor::head(5, 1 + more_pairs) + cbor::text("tensors") + cbor::map(tensors) + more;
}

}  // namespace heft::test::burnpack
