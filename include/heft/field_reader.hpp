// heft/field_reader.hpp: fills the fields of a struct from a record. Programs use it through bind.hpp, whose table
// lists the records that each type accepts; this file is the part of bind() that must be a template.
//
// Flow of one bind(): the struct's describe() is called with a FieldReader, and each f("name", member) of it makes a
// Field. The Field's destructor calls finish(), which finds the key and reads the child into the member:
//
//   bind() -> read_value(root) -> describe(FieldReader) -> f("name", member) -> finish() -> read_value(child) -> ...
//
//   field          the key exists                      the key is missing
//   TensorView     the view, shape and dtype checked   a failure
//   Slice<T>       as<T>()                             a failure
//   number, bool   the value, in range                 0 if Missing::use_default, else a failure
//   std::string    the text                            metadata of that path; "" if use_default, else a failure
//   vector, map    all elements                        empty if use_default, else a failure
//   array          its N elements                      a failure
//   struct         its fields                          a failure
//   variant        the alternative                     a failure
//   Record         the subtree, of any kind            a failure
//   optional       its value; empty for a null         empty
//
// Field::default_value() replaces the failure or the empty value by a default. Codes of the failures:
//
//   not_found      a missing key, or a missing tag of a variant
//   type_mismatch  another kind, dtype or shape; a list with gaps; no alternative fits
//   out_of_range   a number that does not fit, a list longer or shorter than its array, an unknown text of a tag
//   misaligned     a slice whose bytes do not lie on its alignment in the file
//   ambiguous      two of the field's names at once, two spellings of one index
//
// There is one function for each family of types; read_value() selects it at compile time. None throws for the contents
// of the record: failures go to the BindLog. After a failure the target has its old value or a part of a new one;
// bind() fills a copy of the caller's object, and moves it back only when nothing failed.
//
// All functions run on the thread of bind() and keep no references after they return.
#pragma once

#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "heft/bind_log.hpp"
#include "heft/bindable.hpp"
#include "heft/error.hpp"
#include "heft/field.hpp"
#include "heft/record.hpp"

namespace heft::detail {

/// Fills `target` from `record`. Requires that the log's current path is that of the record. Containers, optionals and
/// variants recurse into their parts with the same FieldSpec: `f("experts", experts).shape({4, 8})` requires that shape
/// of each expert.
template <class T>
void read_value(BindLog& log, const Record& record, const FieldSpec& field, T& target);

/// The argument of describe() for reading: `f("name", member)` finds the key in one record. One is made for each struct
/// that is read, on the stack; it refers to the log and to the record that has the struct's fields. Used by one thread.
///
/// Example:
///   struct Linear {
///     heft::TensorView weight;
///     template <class Fields> void describe(Fields& f) {
///       f("weight", weight);                                 // f is a FieldReader in bind(), a FieldWriter in save()
///       if constexpr (Fields::reads) weight = weight.cast_on_load(heft::DType::f16);
///     }
///   };
///   Linear linear;
///   heft::bind(record, linear);
class FieldReader {
 public:
  /// Lets a describe() distinguish the directions at compile time.
  static constexpr bool reads = true;
  /// Requires that both outlive the reader.
  FieldReader(BindLog& log, const Record& record) noexcept : log_(log), record_(record) {}

  /// Starts the description of a field. `name` is borrowed until the end of the statement, `target` is the member
  /// itself. A type that bind() cannot fill is a compile error, "bind() cannot fill a field of this type".
  template <class T>
  Field<FieldReader, T> operator()(std::string_view name, T& target) {
    return {*this, name, target};
  }

  /// Called by the destructor of Field, when the description is complete. Reads the child of that name or alias;
  /// without one calls absent(). When find() added a failure (two of the names exist), the field is neither read nor
  /// missing.
  template <class T>
  void finish(const FieldSpec& field, T& target, std::optional<T>& default_value) {
    static_assert(Bindable<T>, "bind() cannot fill a field of this type");
    // find() returns nothing both for no key and for two of them; only the second adds a failure.
    const std::size_t before = log_.failures();
    if (const auto child = log_.find(record_, field)) {
      const BindLog::Scope scope(log_, child->key);
      read_value(log_, child->record, field, target);
    } else if (log_.failures() == before) {
      absent(field, target, default_value);
    }
  }

 private:
  // Handles a missing key. The first that applies: a text from the metadata, the field's default, an empty optional, an
  // empty value where BindOptions::missing allows it, a failure. Metadata comes before the default because safetensors
  // files have their texts there: such a text is the field's value, not a substitute.
  template <class T>
  void absent(const FieldSpec& field, T& target, std::optional<T>& default_value) {
    if constexpr (std::is_same_v<T, std::string>) {
      if (auto text = log_.metadata_text(field)) return void(target = *std::move(text));
    }
    if (default_value) return void(target = *std::move(default_value));
    if constexpr (is_optional<T>) {
      target.reset();
    } else {
      // Types without an empty value (tensors, structs, arrays, variants) fail under use_default too.
      const bool is_failure = !HasEmpty<T> || log_.options().missing == Missing::refuse;
      log_.missing(record_, field, is_failure);
      if constexpr (HasEmpty<T>) {
        if (!is_failure) target = T{};
      }
    }
  }

  BindLog& log_;
  const Record& record_;
};

/// Reads a TensorView as it is, or a Slice by TensorView::as<T>(), whose Errors (type_mismatch, misaligned) become
/// failures. No payload is read: a page of the mapping is first touched by the caller. (Under Access::read and for
/// compressed records as<T>() reads the elements of a Slice.)
template <class T>
void read_tensor(BindLog& log, const Record& record, const FieldSpec& field, T& target) {
  auto view = log.tensor(record, field);
  if (!view) return;
  if constexpr (std::is_same_v<T, TensorView>) {
    target = *std::move(view);
  } else {
    try {
      target = view->as<typename T::value_type>();
    } catch (const Error& error) {
      log.fail(error.code(), error.message());
    }
  }
}

/// Reads a number: a scalar record, or the element of a tensor of one element. An integer outside T's range fails with
/// out_of_range, a real with type_mismatch where T is an integer type; a bool accepts booleans only. A double is
/// rounded to a float; a finite one above the range of float fails with out_of_range, because rounding would make it an
/// infinity.
template <class T>
void read_number(BindLog& log, const Record& record, const FieldSpec& field, T& target) {
  using Limits = std::numeric_limits<T>;
  if constexpr (std::is_same_v<T, bool>) {
    if (const auto value = log.boolean(record)) target = *value;
  } else if constexpr (std::is_floating_point_v<T>) {
    if (const auto value = log.real(record, Limits::max(), field.from_integer)) target = static_cast<T>(*value);
  } else if constexpr (std::is_signed_v<T>) {
    if (const auto value = log.integer(record, Limits::min(), Limits::max())) target = static_cast<T>(*value);
  } else {
    if (const auto value = log.unsigned_integer(record, Limits::max())) target = static_cast<T>(*value);
  }
}

/// Reads a list, element by element. The path of each ends in its key ("layers.3"), which in a list with gaps is the
/// number in the file and not the index in the vector. A vector is resized to the list's length, an array requires its
/// own length. Existing elements are filled in place, so that members that describe() does not mention keep their
/// values.
template <class T>
void read_elements(BindLog& log, const Record& record, const FieldSpec& field, T& target) {
  const std::size_t before = log.failures();
  const std::vector<BindLog::Child> elements = log.elements(record);
  // elements() also returns an empty list when it fails; an empty list of the record is a success.
  if (log.failures() != before) return;
  if constexpr (is_vector<T>) target.resize(elements.size());
  if (elements.size() != target.size())
    return log.fail(ErrorCode::out_of_range, "expected a list of " + std::to_string(target.size()) + ", found " +
                                                 std::to_string(elements.size()));
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const BindLog::Scope scope(log, elements[i].key);
    // Read into a value and assign it, because the elements of vector<bool> cannot be referred to.
    std::remove_cvref_t<typename T::value_type> value = std::move(target[i]);
    read_value(log, elements[i].record, field, value);
    target[i] = std::move(value);
  }
}

/// Reads all children of a list or map under their keys ("0", "1", ... of a list); earlier contents of the map are
/// removed. After the failure of one child the others are read nevertheless, so that the report names all failures.
template <class T>
void read_map(BindLog& log, const Record& record, const FieldSpec& field, T& target) {
  target.clear();
  for (const BindLog::Child& child : log.pairs(record)) {
    const BindLog::Scope scope(log, child.key);
    read_value(log, child.record, field, target[child.key]);
  }
}

/// Reads alternative number `index` into a new value, which replaces the target only when the read added no failure.
/// Returns true in that case. `I` counts up to `index`, because the type of an alternative must be a constant.
template <std::size_t I, class... T>
bool read_alternative(BindLog& log, const Record& record, const FieldSpec& field, std::size_t index,
                      std::variant<T...>& target) {
  if constexpr (I < sizeof...(T)) {
    if (I != index) return read_alternative<I + 1>(log, record, field, index, target);
    std::variant_alternative_t<I, std::variant<T...>> value{};
    const std::size_t before = log.failures();
    read_value(log, record, field, value);
    if (log.failures() != before) return false;
    target.template emplace<I>(std::move(value));
    return true;
  } else {
    return false;
  }
}

/// Reads the alternative that the tag names, or the first that fits. A field with neither tag() nor untagged(),
/// or with a tag() that names fewer alternatives than the variant has, fails with out_of_range: describe() is wrong,
/// not the file. Keys that a failed try had used count as unused again.
template <class... T>
void read_variant(BindLog& log, const Record& record, const FieldSpec& field, std::variant<T...>& target) {
  if (!field.untagged) {
    if (const auto index = log.alternative(record, field, sizeof...(T)))
      read_alternative<0>(log, record, field, *index, target);
    return;
  }
  // A try binds views and copies no payload. What a failed one recorded is discarded before the next.
  const BindLog::Mark mark = log.mark();
  for (std::size_t index = 0; index < sizeof...(T); ++index) {
    if (read_alternative<0>(log, record, field, index, target)) return;
    log.forget(mark);
  }
  log.fail(ErrorCode::type_mismatch, "none of the " + std::to_string(sizeof...(T)) + " alternatives fits");
}

/// Reads an optional whose key exists. A null empties it: PyTorch writes one for a parameter that the module lacks
/// (`bias=False`). Any other record must be valid for the type: a wrong kind or shape is a failure and not an empty
/// optional, and an optional struct that lacks one of its keys fails as the struct does.
template <class T>
void read_optional(BindLog& log, const Record& record, const FieldSpec& field, T& target) {
  if (record.kind() == RecordKind::null) return target.reset(), log.take_subtree();
  typename T::value_type value = target ? *std::move(target) : typename T::value_type{};
  read_value(log, record, field, value);
  target = std::move(value);
}

// The branches are the families of bindable.hpp, in the same order as in write_value(). A Record marks its whole
// subtree as applied, because the program reads it by itself. The last branch is a struct: its record must have
// children, and a FieldReader for that record is passed to describe().
template <class T>
void read_value(BindLog& log, const Record& record, const FieldSpec& field, T& target) {
  if constexpr (TensorField<T>) {
    read_tensor(log, record, field, target);
  } else if constexpr (Number<T>) {
    read_number(log, record, field, target);
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (auto text = log.text(record)) target = *std::move(text);
  } else if constexpr (std::is_same_v<T, Record>) {
    target = record;
    log.take_subtree();
  } else if constexpr (is_optional<T>) {
    read_optional(log, record, field, target);
  } else if constexpr (is_vector<T> || is_array<T>) {
    read_elements(log, record, field, target);
  } else if constexpr (is_map<T>) {
    read_map(log, record, field, target);
  } else if constexpr (is_variant<T>) {
    read_variant(log, record, field, target);
  } else {
    if (!log.has_fields(record)) return;
    FieldReader reader(log, record);
    target.describe(reader);
  }
}

}  // namespace heft::detail
