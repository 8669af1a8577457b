// heft/field_writer.hpp: turns the fields of a struct into tensors and texts to be saved. Programs use it through
// fields_of() (bind.hpp) and save().
//
//   field                     becomes
//   TensorView                a tensor named by the path, after the field's writing adapter; nothing is copied
//   Slice<T>                  a tensor of the declared shape, else of one dim
//   bool, integer, real       a tensor of rank 0: bool, i64, u64, f32 or f64, over a copy of the value
//   std::string, a tag        metadata under the path: the formats that heft writes have texts in metadata only
//   Record                    all tensors under it; its other values are not saved
//   vector, array, map        their elements, under "0", "1", ... or their keys
//   optional                  nothing where it is empty
//   variant                   the alternative that it holds
//
// bind() reads back what a save of these wrote: the path of a field is its key in the record tree. All functions run on
// the thread of fields_of() and keep no references after they return.
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

/// The tensors and texts of a struct, to be saved. A value: its views hold their bytes, so that the struct may be
/// destroyed first. The members that add are called by the templates below; a program adds fields by describe().
///
/// Example:
///   struct Norm { heft::TensorView weight; template <class F> void describe(F& f) { f("weight", weight); } } norm;
///   heft::bind(record, norm);
///   const heft::FieldList fields = heft::fields_of(norm, "model.norm");
///   for (const heft::TensorView& tensor : fields.tensors) std::cout << tensor.name() << '\n';   // model.norm.weight
struct HEFT_API FieldList {
  std::vector<TensorView> tensors;  ///< Named by paths, "layers.0.norm.gamma", in describe()'s order.
  std::vector<std::pair<std::string, std::string>> metadata;  ///< {path, text}.

  /// Adds `view` under the name `path`, after the field's writing adapter. Throws Error{out_of_range} for a
  /// default-constructed view, and what the adapter throws.
  void add(const std::string& path, const FieldSpec& field, const TensorView& view);
  /// Adds `count` packed elements under the declared shape, else with one dim. Throws Error{out_of_range} when the
  /// number of bytes is not that of the shape.
  void add_elements(const std::string& path, const FieldSpec& field, DType dtype, Bytes elements, std::size_t count);
  /// Adds a tensor of rank 0 over a copy of `value`, the bytes of one element in the host's byte order. Throws
  /// Error{out_of_memory}.
  void add_scalar(const std::string& path, const FieldSpec& field, DType dtype, std::span<const std::byte> value);
  /// Adds the name of a variant's alternative `index` as metadata, if the field has a tag. Throws Error{out_of_range}
  /// when the tag has no name for it.
  void add_tag(const std::string& path, const FieldSpec& field, std::size_t index);
  /// Adds all tensors under the record, named `path` and their keys from the record on. Throws Error{limit_exceeded}
  /// when its lists are shared beyond Limits::record_visits.
  void add_record(const std::string& path, const FieldSpec& field, const Record& record);
};

namespace detail {

// "layers" and "0" to "layers.0". The root's path is empty, and adds no dot.
[[nodiscard]] inline std::string joined(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : path + '.' + std::string(key);
}

/// Adds the contents of `value` under `path`. Throws what the members of FieldList throw: Error{out_of_range} for a
/// default-constructed view, a slice that does not fill its declared shape, a tag without a name for the alternative;
/// Error{limit_exceeded} for a Record; what a writing adapter throws. The value is not changed: the reference is not
/// const because describe() serves both directions.
template <class T>
void write_value(FieldList& list, const std::string& path, const FieldSpec& field, T& value);

/// The argument of describe() for saving. It uses the name, the declared shape, the writing adapter and the tag of a
/// field; aliases, defaults and the other requirements concern reading only. Used by one thread.
class FieldWriter {
 public:
  /// Lets a describe() distinguish the directions at compile time.
  static constexpr bool reads = false;
  /// Requires that both outlive the writer. `path` is that of the struct.
  FieldWriter(FieldList& list, const std::string& path) noexcept : list_(list), path_(path) {}

  /// Starts the description of a field. `name` is borrowed until the end of the statement.
  template <class T>
  Field<FieldWriter, T> operator()(std::string_view name, T& value) {
    return {*this, name, value};
  }

  /// Called by the destructor of Field, when the description is complete.
  template <class T>
  void finish(const FieldSpec& field, T& value, std::optional<T>&) {
    write_value(list_, joined(path_, field.name), field, value);
  }

 private:
  FieldList& list_;
  const std::string& path_;
};

/// The type as which a number is saved. Integers are widened to 64 bits, so that a struct whose member changes from int
/// to long reads its old files: bind() accepts any width that holds the value. A bool is one byte, 0 or 1.
template <class T>
using Stored = std::conditional_t<
    std::is_same_v<T, bool>, std::uint8_t,
    std::conditional_t<std::is_floating_point_v<T>, std::conditional_t<sizeof(T) == 4, float, double>,
                       std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>>>;

/// Adds a copy of the number. All other fields are saved from the memory that they refer to.
template <class T>
void write_number(FieldList& list, const std::string& path, const FieldSpec& field, T value) {
  const auto stored = static_cast<Stored<T>>(value);
  const DType dtype = std::is_same_v<T, bool> ? DType::boolean : dtype_of<Stored<T>>;
  list.add_scalar(path, field, dtype, std::as_bytes(std::span<const Stored<T>, 1>(&stored, 1)));
}

/// Adds elements under "0", "1", ... Each is copied first, because the elements of vector<bool> cannot be referred to;
/// the copy of a view costs a reference count.
template <class T>
void write_elements(FieldList& list, const std::string& path, const FieldSpec& field, const T& value) {
  for (std::size_t i = 0; i < value.size(); ++i) {
    typename T::value_type element = value[i];
    write_value(list, joined(path, std::to_string(i)), field, element);
  }
}

// The branches are the families of bindable.hpp, in the same order as in read_value().
template <class T>
void write_value(FieldList& list, const std::string& path, const FieldSpec& field, T& value) {
  if constexpr (std::is_same_v<T, TensorView>) {
    list.add(path, field, value);
  } else if constexpr (is_slice<T>) {
    list.add_elements(path, field, dtype_of<typename T::value_type>, value.bytes(), value.size());
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
