// heft/bind_options.hpp: what the caller of bind() decides: strictness, missing keys, lists with gaps.
#pragma once

#include <cstdint>

namespace heft {

/// Whether keys that no field wants are a failure.
enum class Strict : std::uint8_t {
  no,   ///< They are listed in LoadReport::unused.
  yes,  ///< Each is Error{out_of_range} too: the struct is to say everything that the record holds.
};

/// What a missing key is, for fields that are neither optional nor have a default of their own (Field::otherwise()).
enum class Missing : std::uint8_t {
  /// Error{not_found}, naming the full path and the nearest keys.
  refuse,
  /// An empty vector, map or string, 0 or false; still a failure for tensors, structs, arrays and variants. Listed in
  /// LoadReport::missing.
  use_default,
};

/// Whether a vector is filled from a map whose keys are numbers with gaps, as PyTorch's Sequential leaves them ("fc.0,
/// fc.2, fc.4"), in the order of the numbers. remap() closes gaps for good, with exemptions; this does it for one bind.
enum class Gaps : std::uint8_t {
  by_format,  ///< close for PyTorch's files, refuse for all others.
  refuse,     ///< Error{type_mismatch}: a list is expected.
  close,      ///< "fc.2" becomes element 1. Two spellings of a number ("0" and "00") are Error{ambiguous}.
};

/// What bind() can be asked. A value.
struct BindOptions {
  Strict strict = Strict::no;
  Missing missing = Missing::refuse;
  Gaps gaps = Gaps::by_format;
};

}  // namespace heft
