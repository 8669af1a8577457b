// format/cbor/nodes.hpp: CBOR items as nodes of a Catalog.
#pragma once

#include <cstdint>

#include "format/catalog.hpp"
#include "format/cbor/tokenizer.hpp"
#include "heft/limits.hpp"

namespace heft::format {

/// Makes `item`, which `reader` gave last, and all that is inside it nodes of `catalog`, and returns the item's index.
/// Texts and bytes point into what the reader was given. Recursion is bounded by Limits::metadata_depth. Throws what
/// the reader throws, Error{limit_exceeded}, and Error{unsupported} for a map whose keys are no texts.
std::uint32_t add_nodes(CborReader& reader, const CborItem& item, Catalog& catalog, const Limits& limits);

}  // namespace heft::format
