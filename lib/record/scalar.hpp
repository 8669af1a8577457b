// record/scalar.hpp: the one number that a record, or a tensor of one element, holds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "format/catalog.hpp"
#include "heft/record.hpp"

namespace heft::record {

/// A boolean, an integer or a real. Kind says which members count.
struct Scalar {
  RecordKind kind = RecordKind::null;
  bool negative = false;        ///< integer
  std::uint64_t magnitude = 0;  ///< integer; boolean: 0 or 1
  double real = 0;              ///< real
};

/// The integer that a node of a catalog is; nothing when it is over 64 bits.
std::optional<Scalar> integer_of(const format::Node& node) noexcept;

/// Nothing for a record that is neither a scalar nor a tensor of one element of a kind that has a Scalar. Throws Error{out_of_range} for an integer
/// over 64 bits, and what reading the element throws.
std::optional<Scalar> scalar_of(const Record& record);

/// What the record is, for sentences: "a map", "a f32 tensor of shape [2, 3]".
std::string describe(const Record& record);

}  // namespace heft::record
