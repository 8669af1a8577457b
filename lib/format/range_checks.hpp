// format/range_checks.hpp: the checks that every format with named byte ranges needs: one name, one place.
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

/// The Catalog's order, see sort_by_place().
bool comes_before(const TensorEntry& a, const TensorEntry& b) noexcept;

/// Puts tensors in the Catalog's order: by member and begin; of those that begin together the empty ones first, then by
/// name.
void sort_by_place(std::span<TensorEntry> tensors);

/// Throws Error{ambiguous} when two tensors share a byte. Wants the Catalog's order; tensors of 0 bytes lie nowhere.
void require_disjoint(std::span<const TensorEntry> tensors);

/// The checks at open of a dtype that heft has no row for, whose bytes nothing but the file counts: a tensor with
/// elements has bytes, a tensor without elements has none. Throws Error{corrupt} with the tensor and `offset`, where
/// the file declares it. The shape has passed require_shape().
void require_raw_bytes(const Catalog& catalog, const TensorEntry& tensor, std::uint64_t offset);

}  // namespace heft::format
