// heft/field_writer.hpp: how the fields of a struct become tensors to be saved. Used through bind.hpp: fields_of() and
// save().
//
//   field                     becomes
//   TensorView                a tensor of the path's name, after the field's writing adapter; nothing is copied
//   Slice<T>                  a tensor of the declared shape, else of one dim
//   bool, integer, real       a tensor of rank 0: bool, i64, u64, f32 or f64, in a copy of its own
//   std::string, a tag        metadata under the path: formats of tensors have no texts elsewhere
//   Record                    all tensors under it; its other values are not saved
//   vector, array, map        their elements, under "0", "1", ... or their keys
//   optional                  nothing where it is empty
//   variant                   the alternative it holds
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "heft/bindable.hpp"
#include "heft/field.hpp"

namespace heft {

/// What a struct holds, to be saved. A value: its views hold their bytes.
struct HEFT_API FieldList {
  std::vector<TensorView> tensors;  ///< Named by their paths, "layers.0.norm.gamma", in the order described.
  std::vector<std::pair<std::string, std::string>> metadata;  ///< Texts, by their paths.

  /// `view` under the name `path`, after the field's writing adapter. Throws Error{out_of_range} for a view that was
  /// never set, and what the adapter throws.
  void add(const std::string& path, const FieldSpec& field, const TensorView& view);
  /// `count` packed elements; under the declared shape, else with one dim. Throws Error{out_of_range} when they do not
  /// fill it.
  void add_elements(const std::string& path, const FieldSpec& field, DType dtype, Bytes elements, std::size_t count);
  /// A tensor of rank 0 over a copy of `value`, sizeof the dtype.
  void add_scalar(const std::string& path, const FieldSpec& field, DType dtype, std::span<const std::byte> value);
  /// The name of a variant's alternative, where the field has a tag. Throws Error{out_of_range} when the tag has no
  /// name for it.
  void add_tag(const std::string& path, const FieldSpec& field, std::size_t index);
  /// All tensors under the record, by their keys from it on.
  void add_record(const std::string& path, const FieldSpec& field, const Record& record);
};

namespace detail {

[[nodiscard]] inline std::string joined(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : path + '.' + std::string(key);
}

/// Adds what `value` holds, under `path`. Throws Error{out_of_range} for a view that was never set, a slice that does
/// not fill its declared shape, a tag without a name for the alternative; Error{limit_exceeded} for a Record whose
/// lists are shared beyond Limits::record_visits; what a writing adapter throws. The value is not changed: the
/// reference is not const because describe() serves both directions.
template <class T>
void write_value(FieldList& list, const std::string& path, const FieldSpec& field, T& value);

/// The engine that describe() is given for saving. Aliases, defaults and demands are passed over.
class FieldWriter {
 public:
  static constexpr bool reads = false;
  /// Both outlive the writer.
  FieldWriter(FieldList& list, const std::string& path) noexcept : list_(list), path_(path) {}

  template <class T>
  Field<FieldWriter, T> operator()(std::string_view name, T& value) {
    return {*this, name, value};
  }

  /// What Field's destructor calls, once all is said of the field.
  template <class T>
  void finish(const FieldSpec& field, T& value, std::optional<T>&) {
    write_value(list_, joined(path_, field.name), field, value);
  }

 private:
  FieldList& list_;
  const std::string& path_;
};

/// The dtype that a number is saved as. Integers are widened: bind() reads any width that holds the value.
template <class T>
using Stored = std::conditional_t<
    std::is_same_v<T, bool>, std::uint8_t,
    std::conditional_t<std::is_floating_point_v<T>, std::conditional_t<sizeof(T) == 4, float, double>,
                       std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>>>;

/// A copy of the number; it is the one case in which saving a struct copies what the struct holds.
template <class T>
void write_number(FieldList& list, const std::string& path, const FieldSpec& field, T value) {
  const auto stored = static_cast<Stored<T>>(value);
  const DType dtype = std::is_same_v<T, bool> ? DType::boolean : dtype_of<Stored<T>>;
  list.add_scalar(path, field, dtype, std::as_bytes(std::span<const Stored<T>, 1>(&stored, 1)));
}

/// Elements are copied first: vector<bool> has none to refer to, and a view costs a reference count.
template <class T>
void write_elements(FieldList& list, const std::string& path, const FieldSpec& field, const T& value) {
  for (std::size_t i = 0; i < value.size(); ++i) {
    typename T::value_type element = value[i];
    write_value(list, joined(path, std::to_string(i)), field, element);
  }
}

template <class T>
void write_value(FieldList& list, const std::string& path, const FieldSpec& field, T& value) {
  if constexpr (std::is_same_v<T, TensorView>) {
    list.add(path, field, value);
  } else if constexpr (is_slice<T>) {
    list.add_elements(path, field, dtype_of<typename T::value_type>, value.bytes(), value.count());
  } else if constexpr (Number<T>) {
    write_number(list, path, field, value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    list.metadata.emplace_back(path, value);
  } else if constexpr (std::is_same_v<T, Record>) {
    list.add_record(path, field, value);
  } else if constexpr (is_optional<T>) {
    if (value) write_value(list, path, field, *value);
  } else if constexpr (is_vector<T> || is_array<T>) {
    write_elements(list, path, field, value);
  } else if constexpr (is_map<T>) {
    for (auto& [key, element] : value) write_value(list, joined(path, key), field, element);
  } else if constexpr (is_variant<T>) {
    list.add_tag(path, field, value.index());
    std::visit([&](auto& alternative) { write_value(list, path, field, alternative); }, value);
  } else {
    FieldWriter writer(list, path);
    value.describe(writer);
  }
}

}  // namespace detail
}  // namespace heft
