// save/metadata.hpp: a checkpoint's metadata in the words of the format that is written.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "format/file_plan.hpp"
#include "heft/record.hpp"

namespace heft::engine {

/// Pairs of text that a caller adds; they replace pairs kept under the same key.
using AddedPairs = std::span<const std::pair<std::string, std::string>>;

/// What safetensors keeps of `kept`: texts, numbers and booleans, as text. A note counts the rest.
format::TextMetadata text_metadata(const Record& kept, AddedPairs added, std::vector<std::string>& notes);

/// What GGUF keeps of `kept`: texts, numbers and booleans with the types that a GGUF file gave them (else i64, u64,
/// f64), and arrays whose elements have one type. An empty array becomes one of strings, for its type is not known. Not
/// kept, and noted: what places the source among the parts of a split, and, when `converted`, general.file_type, which
/// would no longer be true. Throws Error{limit_exceeded} for more values than Limits::metadata_items.
std::vector<format::GgufPair> gguf_metadata(const Record& kept, AddedPairs added, bool converted,
                                            std::vector<std::string>& notes);

}  // namespace heft::engine
