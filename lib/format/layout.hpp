// format/layout.hpp: the checks that every format with named byte ranges needs: one name, one place.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "format/catalog.hpp"

namespace heft::format {

/// A name that is there more than once, or nothing. By sorting: names chosen to collide in a hash table cost nothing here.
std::optional<std::string_view> duplicate(std::vector<std::string_view> names);

/// Throws Error{ambiguous} when two tensors have one name.
void require_unique_names(std::span<const TensorEntry> tensors);

/// The same for the Catalog's tensors and values together.
void require_unique_names(const Catalog& catalog);

/// Puts tensors in the Catalog's order: by member, begin, name.
void sort_by_place(std::span<TensorEntry> tensors);

/// Throws Error{ambiguous} when two tensors share a byte. Wants the Catalog's order; tensors of 0 bytes lie nowhere.
void require_disjoint(std::span<const TensorEntry> tensors);

}  // namespace heft::format
