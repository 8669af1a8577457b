// format/range_checks.hpp: checks for formats with named byte ranges: unique names and disjoint ranges.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "format/catalog.hpp"

namespace heft::format {

/// Returns a name that occurs more than once, or nothing. Sorts the names, so that names chosen to collide in a hash
/// table do not slow it down.
std::optional<std::string_view> duplicate(std::vector<std::string_view> names);

/// Throws Error{ambiguous} if two tensors have the same name.
void require_unique_names(std::span<const TensorEntry> tensors);

/// The same for the Catalog's tensors and values together.
void require_unique_names(const Catalog& catalog);

/// Returns true if `a` comes before `b` in the Catalog's order, see sort_by_place().
bool comes_before(const TensorEntry& a, const TensorEntry& b) noexcept;

/// Sorts tensors into the Catalog's order: by member and offset; at equal offsets the empty ones first, then by name.
void sort_by_place(std::span<TensorEntry> tensors);

/// Throws Error{ambiguous} if the byte ranges of two tensors overlap; tensors of 0 bytes are ignored. Requires the
/// Catalog's order.
void require_disjoint(std::span<const TensorEntry> tensors);

/// Checks a tensor of a dtype that heft does not know, whose size only the file declares: a tensor with elements must
/// have bytes, a tensor without elements must have none. Throws Error{corrupt} with the tensor and `offset`, where the
/// file declares it. Requires a shape that has passed require_shape().
void require_raw_bytes(const Catalog& catalog, const TensorEntry& tensor, std::uint64_t offset);

}  // namespace heft::format
