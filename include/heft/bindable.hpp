// heft/bindable.hpp: the types that bind() can fill and fields_of() can write.
//
// A struct says what it is made of in a member template, described in bind.hpp; everything else here is told by its
// type. What each takes from a record is bind.hpp's table.
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

// Which family a type belongs to decides how it is read (field_reader.hpp) and written (field_writer.hpp); a new family
// is a trait here and a branch in each of the two.
//
//   TensorField   TensorView, Slice<T>                          views of the file: nothing is read or copied
//   HasEmpty      vector, map<string, T>, numbers, string       may be empty where BindOptions say so
//   Described     structs with describe()                       recursion, by name
//   the rest      array, optional, variant, Record
//
// True for the standard containers that a field may be, whatever they hold: a vector of what bind() cannot fill does
// not compile where it is bound.
template <class T>
inline constexpr bool is_slice = false;
template <class T>
inline constexpr bool is_slice<Slice<T>> = true;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
template <class T>
inline constexpr bool is_array = false;
template <class T, std::size_t N>
inline constexpr bool is_array<std::array<T, N>> = true;
template <class T>
inline constexpr bool is_map = false;
template <class T>
inline constexpr bool is_map<std::map<std::string, T>> = true;
template <class T>
inline constexpr bool is_variant = false;
template <class... T>
inline constexpr bool is_variant<std::variant<T...>> = true;

// Stands for either direction where only the shape of describe() matters.
struct AnyFields {
  static constexpr bool reads = true;
  template <class T>
  Field<AnyFields, T> operator()(std::string_view name, T& target) {
    return {*this, name, target};
  }
  template <class T>
  void finish(const FieldSpec&, T&, std::optional<T>&) {}
};

/// A struct with `template <class Fields> void describe(Fields& f)`, which is asked with this stand-in. What describe()
/// says must not depend on the fields' values: it is called to read as well as to write, for an object in any state.
template <class T>
concept Described = requires(T object, AnyFields fields) {
  object.describe(fields);
};

/// bool, an integer, float or double. Integers are checked for range, never clamped.
template <class T>
concept Number = std::is_arithmetic_v<T>;

/// A tensor's view or slice: filled without reading an element.
template <class T>
concept TensorField = std::same_as<T, TensorView> || is_slice<T>;

/// Has a natural empty value: what Missing::use_default gives it.
template <class T>
concept HasEmpty = is_vector<T> || is_map<T> || Number<T> || std::same_as<T, std::string>;

}  // namespace detail

/// What bind() can fill, save() can write, and a field may be. Pointers, references, enumerations and const members are
/// not among them; a std::vector of Slices, an optional struct, a map of variants are.
template <class T>
concept Bindable = detail::Described<T> || detail::TensorField<T> || detail::HasEmpty<T> || detail::is_array<T> ||
    detail::is_variant<T> || detail::is_optional<T> || std::same_as<T, Record>;

}  // namespace heft
