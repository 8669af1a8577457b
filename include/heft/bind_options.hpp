// heft/bind_options.hpp: options of bind(): strictness, missing keys, lists with gaps.
#pragma once

#include <cstdint>

namespace heft {

/// The treatment of keys that no field reads.
enum class Strict : std::uint8_t {
  no,   ///< They are listed in BindReport::unused.
  yes,  ///< Each is also a failure, Error{out_of_range}: the struct must describe everything that the record contains.
};

/// The treatment of a missing key, for fields that are neither optional nor have a default (Field::default_value()).
enum class Missing : std::uint8_t {
  /// A failure, Error{not_found}, which names the full path and the nearest keys.
  refuse,
  /// The field becomes an empty vector, map or string, 0 or false, and is listed in BindReport::missing. A missing
  /// tensor, struct, array or variant is a failure nevertheless, because it has no empty value.
  use_default,
};

/// The treatment of a vector whose record is a map of numbers with gaps. PyTorch's Sequential leaves them ("fc.0, fc.2,
/// fc.4") where a layer has no parameters. This closes gaps for one bind(); remap() closes them in the keys of the
/// checkpoint, with exemptions.
enum class Gaps : std::uint8_t {
  by_format,  ///< close for PyTorch's files, refuse for all other formats.
  refuse,     ///< A failure, Error{type_mismatch}: a list is expected.
  close,      ///< Elements in the order of the numbers: "fc.2" is 1. "0" and "00" at once are Error{ambiguous}.
};

/// Options of bind() and try_bind(). A value.
///
/// Example:
///   struct Head { heft::TensorView weight; template <class F> void describe(F& f) { f("weight", weight); } } head;
///   heft::bind(record, head, {.strict = heft::Strict::yes});   // fails if the record has a bias
struct BindOptions {
  /// Keys that no field reads.
  Strict strict = Strict::no;
  /// Keys that a field requires and the record lacks.
  Missing missing = Missing::refuse;
  /// Lists with gaps.
  Gaps gaps = Gaps::by_format;
};

}  // namespace heft
