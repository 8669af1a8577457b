// format/burn/dtypes.hpp: Burn's names of element types, shared by its two file formats.
#pragma once

#include <string_view>

#include "format/catalog.hpp"

namespace heft::format {

/// Sets the entry's dtype from a name of Burn's DType: "F32". `parameter` is the parameter of a variant ("U8" for
/// {"Bool": "U8"}), else empty.
///
/// Types that heft does not know (bools of four bytes, QFloat, names of later versions) become DType::unknown with
/// their name in Catalog::type_names.
void set_burn_dtype(Catalog& catalog, TensorEntry& entry, std::string_view name, std::string_view parameter);

}  // namespace heft::format
