// format/burn/dtypes.hpp: Burn's names of element types, shared by its two file formats.
#pragma once

#include <string_view>

#include "format/catalog.hpp"

namespace heft::format {

/// Sets the entry's dtype from a name as Burn's DType serializes: "F32"; `parameter` is what a variant holds besides:
/// of {"Bool": "U8"} it is "U8", else empty.
///
/// Types without a row in heft's table (bools of four bytes, QFloat, names of later versions) stay unknown under their
/// own name.
void set_burn_dtype(Catalog& catalog, TensorEntry& entry, std::string_view name, std::string_view parameter);

}  // namespace heft::format
