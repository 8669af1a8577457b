// heft/field.hpp: one field of a described struct: its name, and what is demanded of the record that fills it.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "heft/adapter.hpp"
#include "heft/record.hpp"
#include "heft/shape.hpp"
#include "heft/slice.hpp"
#include "heft/tensor_view.hpp"

namespace heft {

/// What describe() said of a field. Strings are borrowed from the caller for the time of the call.
struct FieldSpec {
  std::string_view name = {};
  std::vector<std::string_view> aliases = {};
  std::optional<Shape> shape = {};       ///< Of a tensor field, exactly. For containers: of each tensor in them.
  std::optional<DType> dtype = {};       ///< Of a TensorView field.
  Adapter reading = {};                  ///< Applied to each tensor before it is checked.
  Adapter writing = {};                  ///< Applied to each tensor before it is saved.
  bool has_default = false;              ///< The field keeps the value it was given where the key is missing.
  bool from_integer = false;             ///< A real takes an integer that is exact.
  bool first_that_fits = false;          ///< Variants.
  std::string_view tag = {};             ///< Variants: the key whose text names the alternative ...
  std::vector<std::string_view> alternatives = {};  ///< ... among these, in the variant's order.
};

/// What f("name", member) returns: says more about the field. Reads or writes it when the statement ends.
template <class Engine, class T>
class Field {
 public:
  Field(Engine& engine, std::string_view name, T& target) noexcept : engine_(engine), target_(target) { spec_.name = name; }
  Field(const Field&) = delete;
  Field& operator=(const Field&) = delete;
  /// The field is done here, after all that was said of it; failures are collected, so nothing but lack of memory throws.
  ~Field() noexcept(false) { engine_.finish(spec_, target_, default_); }

  /// Another name that the key may have; may be said several times. A record with two of the names is Error{ambiguous}.
  Field& alias(std::string_view name) { spec_.aliases.push_back(name); return *this; }
  /// The value where the key is missing.
  Field& otherwise(T value) {
    spec_.has_default = true;
    if constexpr (Engine::reads) default_ = std::move(value);
    return *this;
  }
  Field& shape(Shape shape) { spec_.shape = std::move(shape); return *this; }
  Field& dtype(DType dtype) { spec_.dtype = dtype; return *this; }
  /// A view of each tensor to use in its place, when reading and, with the other direction, when saving.
  Field& adapter(Adapter reading, Adapter writing = {}) {
    spec_.reading = std::move(reading);
    spec_.writing = std::move(writing);
    return *this;
  }
  Field& from_integer() { spec_.from_integer = true; return *this; }
  Field& first_that_fits() { spec_.first_that_fits = true; return *this; }
  /// A variant: the record's text `key` says which alternative it is, by its place among `names`.
  Field& tag(std::string_view key, std::vector<std::string_view> names) {
    spec_.tag = key;
    spec_.alternatives = std::move(names);
    return *this;
  }

 private:
  Engine& engine_;
  T& target_;
  FieldSpec spec_;
  std::optional<T> default_;
};

namespace detail {

template <class T> inline constexpr bool is_slice = false;
template <class T> inline constexpr bool is_slice<Slice<T>> = true;
template <class T> inline constexpr bool is_optional = false;
template <class T> inline constexpr bool is_optional<std::optional<T>> = true;
template <class T> inline constexpr bool is_vector = false;
template <class T> inline constexpr bool is_vector<std::vector<T>> = true;
template <class T> inline constexpr bool is_array = false;
template <class T, std::size_t N> inline constexpr bool is_array<std::array<T, N>> = true;
template <class T> inline constexpr bool is_map = false;
template <class T> inline constexpr bool is_map<std::map<std::string, T>> = true;
template <class T> inline constexpr bool is_variant = false;
template <class... T> inline constexpr bool is_variant<std::variant<T...>> = true;

/// Stands for either direction where only the shape of describe() matters.
struct AnyFields {
  static constexpr bool reads = true;
  template <class T>
  Field<AnyFields, T> operator()(std::string_view name, T& target) { return {*this, name, target}; }
  template <class T>
  void finish(const FieldSpec&, T&, std::optional<T>&) {}
};

template <class T>
concept Described = requires(T object, AnyFields fields) { object.describe(fields); };

template <class T>
concept Number = std::is_arithmetic_v<T>;

}  // namespace detail

/// What bind() can fill: see bind.hpp.
template <class T>
concept Bindable = detail::Described<T> || detail::is_vector<T> || detail::is_array<T> || detail::is_map<T> || detail::is_variant<T> ||
                   detail::is_optional<T> || detail::is_slice<T> || detail::Number<T> || std::same_as<T, TensorView> ||
                   std::same_as<T, Record> || std::same_as<T, std::string>;

}  // namespace heft
