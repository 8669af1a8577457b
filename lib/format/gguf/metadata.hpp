// format/gguf/metadata.hpp: conversion of GGUF's key-value pairs to a map node of a Catalog.
#pragma once

#include <cstdint>
#include <optional>

#include "format/catalog.hpp"
#include "format/gguf/byte_reader.hpp"
#include "heft/limits.hpp"

namespace heft::format::gguf {

/// The type number before a value; kept as Node::dtype.
enum class ValueType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

/// Returns the dtype of a node that is a number of that type; unknown for texts, arrays and booleans.
DType dtype_of(ValueType type) noexcept;
/// Returns the type of numbers of that dtype; nothing for unknown, the dtype of numbers of other formats.
std::optional<ValueType> number_type(DType dtype) noexcept;

/// Reads `pairs` key-value pairs into Catalog::metadata. Texts and array elements stay in the cursor's chunks, which
/// the caller must keep with the catalog.
void read_metadata(ByteReader& reader, std::uint64_t pairs, const Limits& limits, Catalog& catalog);

}  // namespace heft::format::gguf
