// format/cbor/nodes.hpp: conversion of CBOR items to nodes of a Catalog.
#pragma once

#include <cstdint>

#include "format/catalog.hpp"
#include "format/cbor/tokenizer.hpp"
#include "heft/limits.hpp"

namespace heft::format {

/// Adds `item`, the last one that `reader` returned, and all items inside it to `catalog` as nodes, and returns the
/// index of its node. Texts and bytes point into the reader's bytes. Recursion is bounded by Limits::metadata_depth.
/// Throws the errors of the reader, Error{limit_exceeded}, and Error{unsupported} for a map with a key that is not a
/// text.
std::uint32_t add_nodes(CborReader& reader, const CborItem& item, Catalog& catalog, const Limits& limits);

}  // namespace heft::format
