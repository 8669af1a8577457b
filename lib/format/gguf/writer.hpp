// format/gguf/writer.hpp: the plan of a GGUF file, and the encoding of its metadata.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "format/gguf/metadata.hpp"
#include "format/writer.hpp"

namespace heft::format {

/// A key-value pair of GGUF's metadata.
struct GgufPair {
  std::string key;
  gguf::ValueType type = gguf::ValueType::string;
  std::string value;  ///< Encoded as in version 3, little-endian.
};

/// The writer of GGUF 3.
extern const Writer gguf_writer;

/// Returns the plan of a file that holds `tensors`, in the given order; their data is aligned to `general.alignment` if
/// the metadata has it, else to 32. Throws as FileLayout does.
FilePlan gguf_file_plan(std::span<const TensorDeclaration> tensors, std::span<const GgufPair> metadata,
                        const Limits& limits = {});

namespace gguf {

/// Returns the values that GGUF can hold: texts, numbers and booleans with their types in a GGUF file (else i64, u64,
/// f64), and arrays of one element type. An empty array becomes an array of strings, because its type is not known.
/// Values that are left out get a note: those without a GGUF type, the keys of a split, and, for converted tensors,
/// general.file_type, which would no longer be true. Throws Error{limit_exceeded} for more values than
/// Limits::metadata_items.
std::vector<GgufPair> encode_metadata(const MetadataToWrite& metadata, const Limits& limits,
                                      std::vector<std::string>& notes);

}  // namespace gguf
}  // namespace heft::format
