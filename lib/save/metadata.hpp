// save/metadata.hpp: conversion of a checkpoint's metadata to the form of the written format.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "format/file_plan.hpp"
#include "heft/record.hpp"

namespace heft::writer {

/// Pairs of text that a caller adds. They replace kept pairs of the same key.
using AddedPairs = std::span<const std::pair<std::string, std::string>>;

/// Returns the values of `kept` that safetensors can hold, texts, numbers and booleans, as text. A note counts the
/// rest.
format::TextMetadata text_metadata(const Record& kept, AddedPairs added, std::vector<std::string>& notes);

/// Returns the values of `kept` that GGUF can hold: texts, numbers and booleans with their types in a GGUF file (else
/// i64, u64, f64), and arrays of one element type. An empty array becomes an array of strings, because its type is not
/// known. Values that are left out get a note: those without a GGUF type, the keys of a split, and, when `converted`,
/// general.file_type, which would no longer be true. Throws Error{limit_exceeded} for more values than
/// Limits::metadata_items.
std::vector<format::GgufPair> gguf_metadata(const Record& kept, AddedPairs added, bool converted,
                                            std::vector<std::string>& notes);

}  // namespace heft::writer
