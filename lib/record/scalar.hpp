// record/scalar.hpp: the number in a record or in a tensor of one element.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "format/catalog.hpp"
#include "heft/record.hpp"

namespace heft::record {

/// A boolean, an integer or a real; `kind` determines the members that are used.
struct Scalar {
  RecordKind kind = RecordKind::null;
  bool negative = false;        ///< integer
  std::uint64_t magnitude = 0;  ///< integer; boolean: 0 or 1
  double real = 0;              ///< real
};

/// Returns the integer of a catalog's node; nothing if it does not fit 64 bits.
std::optional<Scalar> integer_of(const format::Node& node) noexcept;

/// Returns the number of a scalar, or of a tensor of one element with a dtype that has a Scalar; nothing for other
/// records. Throws Error{out_of_range} for an integer over 64 bits, and the errors of reading the element.
std::optional<Scalar> scalar_of(const Record& record);

/// Returns a description of the record for errors: "a map", "a f32 tensor of shape [2, 3]".
std::string describe(const Record& record);

}  // namespace heft::record
