// heft/bindable.hpp: the concept of types that bind() can fill and that fields_of() and save() can write.
//
// A struct takes part by a member template describe(), see bind.hpp. All other types are recognised here by their type
// alone. The table in bind.hpp lists the kind of record that each reads.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "heft/field.hpp"
#include "heft/record.hpp"
#include "heft/slice.hpp"
#include "heft/tensor_view.hpp"

namespace heft {
namespace detail {

// The family of a type selects the function that reads it (field_reader.hpp) and writes it (field_writer.hpp). To add a
// family: a trait here and a branch in read_value() and write_value().
//
//   TensorField   TensorView, Slice<T>                          views of the file: no element is read or copied
//   HasEmpty      vector, map<string, T>, numbers, string       have an empty value for Missing::use_default
//   Described     structs with describe()                       recursion, by names
//   the others    array, optional, variant, Record
//
// The traits below are true for the standard containers that a field can be, for any element type: the element type is
// checked where the container is read, and a vector of a type that bind() cannot fill does not compile there.
// Slice<T> of any element type.
template <class T>
inline constexpr bool is_slice = false;
template <class T>
inline constexpr bool is_slice<Slice<T>> = true;
// Empty where the key is missing, or the record a null.
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
// A list of any length.
template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
// A list of exactly N elements.
template <class T>
inline constexpr bool is_array = false;
template <class T, std::size_t N>
inline constexpr bool is_array<std::array<T, N>> = true;
// Children by their keys. Only maps with std::string keys and the default order: keys of records are texts.
template <class T>
inline constexpr bool is_map = false;
template <class T>
inline constexpr bool is_map<std::map<std::string, T>> = true;
// One of several alternatives, selected by Field::tag() or Field::untagged().
template <class T>
inline constexpr bool is_variant = false;
template <class... T>
inline constexpr bool is_variant<std::variant<T...>> = true;

// A stand-in for FieldReader and FieldWriter: the concept below checks with it that describe() compiles for both,
// before either type is complete. finish() is never called: the concept's expression is not evaluated.
struct AnyFields {
  static constexpr bool reads = true;
  template <class T>
  Field<AnyFields, T> operator()(std::string_view name, T& target) {
    return {*this, name, target};
  }
  template <class T>
  void finish(const FieldSpec&, T&, std::optional<T>&) {}
};

/// A struct with `template <class Fields> void describe(Fields& f)`. The calls that describe() makes must not depend on
/// the values of the fields: it is called to read as well as to write, for an object in any state. A describe() that is
/// private, or that does not compile for AnyFields, makes the struct not Bindable.
template <class T>
concept Described = requires(T object, AnyFields fields) { object.describe(fields); };

/// bool, an integer type, float or double. A number of the record that does not fit the type is a failure,
/// out_of_range; nothing is clamped.
template <class T>
concept Number = std::is_arithmetic_v<T>;

/// TensorView or Slice<T>: filled without reading an element.
template <class T>
concept TensorField = std::same_as<T, TensorView> || is_slice<T>;

/// Types with an empty value, which Missing::use_default assigns: an empty vector, map or string, 0, false.
template <class T>
concept HasEmpty = is_vector<T> || is_map<T> || Number<T> || std::same_as<T, std::string>;

}  // namespace detail

/// Types that bind() can fill, save() can write, and a field can have. Pointers, references, enumerations and const
/// members are not among them; a std::vector of Slices, an optional struct and a map of variants are.
///
/// Example:
///   struct Expert { heft::TensorView up; template <class F> void describe(F& f) { f("up", up); } };
///   static_assert(heft::Bindable<std::vector<std::optional<Expert>>>);
///   static_assert(!heft::Bindable<heft::TensorView*>);
template <class T>
concept Bindable = detail::Described<T> || detail::TensorField<T> || detail::HasEmpty<T> || detail::is_array<T> ||
                   detail::is_variant<T> || detail::is_optional<T> || std::same_as<T, Record>;

}  // namespace heft
