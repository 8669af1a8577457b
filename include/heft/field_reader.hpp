// heft/field_reader.hpp: how the fields of a struct are filled from a record. Used through bind.hpp, which says what
// each type takes.
//
//   bind() -> read_value(root) -> describe(FieldReader) -> f("name", member) -> finish() -> read_value(child) -> ...
//
//   field          where its key is there              where it is missing
//   TensorView     the view, shape and dtype checked   a failure
//   Slice<T>       as<T>()                             a failure
//   number, bool   the value, in range                 0 if Missing::use_default, else a failure
//   std::string    the text                            metadata of that path; "" if use_default, else a failure
//   vector, map    all elements                        empty if use_default, else a failure
//   array          its N elements                      a failure
//   struct         its fields                          a failure
//   variant        the alternative                     a failure
//   Record         the subtree, whatever it is         a failure
//   optional       its value; empty for a null         empty
//
// A field with otherwise() takes that value instead of a failure or an empty one. What fails, fails as
//
//   not_found      a key that is missing, or the tag of a variant
//   type_mismatch  another kind, dtype or shape; a list with gaps; no alternative that fits
//   out_of_range   a number that does not fit, a list longer or shorter than its array, a tag of an unknown word
//   misaligned     a slice whose bytes the file does not align
//   ambiguous      two of the field's names at once, two spellings of one index
//
// One function for each kind of field, chosen at compile time by read_value(). None of them throws for what the record
// holds: failures go to the BindLog, and the target then keeps the value it had, or part of a new one: bind() fills a
// copy, and gives it to the caller only when nothing failed.
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

/// Fills `target` from `record`; the log's path is the record's. Structs, containers, optionals and variants recur into
/// their parts with the same FieldSpec for all elements: `f("experts", experts).shape({4, 8})` demands the shape of
/// each.
template <class T>
void read_value(BindLog& log, const Record& record, const FieldSpec& field, T& target);

/// The engine that describe() is given for reading: `f("name", member)` finds the key in one record.
///
/// One is made for each struct that is met, on the stack; it keeps nothing but whose fields are read. Not for several
/// threads, nor is the BindLog behind it.
class FieldReader {
 public:
  static constexpr bool reads = true;
  /// Both outlive the reader.
  FieldReader(BindLog& log, const Record& record) noexcept : log_(log), record_(record) {}

  /// A field of the struct. `name` is borrowed until the statement ends, `target` is the member itself. A type that
  /// bind() cannot fill is a compile error that says so.
  template <class T>
  Field<FieldReader, T> operator()(std::string_view name, T& target) {
    return {*this, name, target};
  }

  /// What Field's destructor calls, once all is said of the field: reads the child of that name or alias, else does
  /// what absent() says. A record that has two of the names has failed already and is not read.
  template <class T>
  void finish(const FieldSpec& field, T& target, std::optional<T>& otherwise) {
    static_assert(Bindable<T>, "bind() cannot fill a field of this type");
    const std::size_t before = log_.failures();
    if (const auto child = log_.find(record_, field)) {
      const BindLog::Scope scope(log_, child->key);
      read_value(log_, child->record, field, target);
    } else if (log_.failures() == before) {
      absent(field, target, otherwise);
    }
  }

 private:
  // In this order: text from the metadata, the field's own default, an empty optional, an empty value where BindOptions
  // allows, a failure.
  template <class T>
  void absent(const FieldSpec& field, T& target, std::optional<T>& otherwise) {
    if constexpr (std::is_same_v<T, std::string>) {
      if (auto text = log_.metadata_text(field)) return void(target = *std::move(text));
    }
    if (otherwise) return void(target = *std::move(otherwise));
    if constexpr (is_optional<T>) {
      target.reset();
    } else {
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

/// Nothing of the payload is read: pages are touched when the caller does. A view as it is, or a slice: strict as
/// TensorView::as<T>(), whose errors (type_mismatch, misaligned) become failures.
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
      log.fail(error.code(), error.sentence());
    }
  }
}

/// A number that fits T: of the record's kind, or the element of a tensor of one element, which is the only payload
/// that binding reads. Integers out of T's range are out_of_range, a real is type_mismatch for them; a bool takes
/// booleans only. A double that goes into a float is rounded; beyond a float's range it fails.
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
    if (const auto value = log.natural(record, Limits::max())) target = static_cast<T>(*value);
  }
}

/// A list, element by element; the path of each ends in its own key ("layers.3"), which for a list with gaps is the
/// number that the file says and not the element's. A vector takes the list's length, an array demands its own.
/// Elements that are there already are filled in place, so that what describe() does not mention stays.
template <class T>
void read_elements(BindLog& log, const Record& record, const FieldSpec& field, T& target) {
  const std::size_t before = log.failures();
  const std::vector<BindLog::Child> elements = log.elements(record);
  if (log.failures() != before) return;
  if constexpr (is_vector<T>) target.resize(elements.size());
  if (elements.size() != target.size())
    return log.fail(ErrorCode::out_of_range, "expected a list of " + std::to_string(target.size()) + ", found " +
                                                 std::to_string(elements.size()));
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const BindLog::Scope scope(log, elements[i].key);
    // vector<bool> has no elements to refer to.
    std::remove_cvref_t<typename T::value_type> value = std::move(target[i]);
    read_value(log, elements[i].record, field, value);
    target[i] = std::move(value);
  }
}

/// All children of a list or map by their keys ("0", "1", ... of a list); what the map held goes. The failure of one
/// child does not keep the others from being read: the report names all.
template <class T>
void read_map(BindLog& log, const Record& record, const FieldSpec& field, T& target) {
  target.clear();
  for (const BindLog::Child& child : log.pairs(record)) {
    const BindLog::Scope scope(log, child.key);
    read_value(log, child.record, field, target[child.key]);
  }
}

/// Alternative number `index`, into a value of its own that replaces the target when it could be read. True when it
/// could.
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

/// The alternative that the tag names, or the first that fits: only views are tried, a subtree is never copied. A
/// variant whose field says neither, or names too few alternatives, fails with out_of_range: that is the describer's
/// mistake. Keys that a failed try has used count as unused again.
template <class... T>
void read_variant(BindLog& log, const Record& record, const FieldSpec& field, std::variant<T...>& target) {
  if (!field.first_that_fits) {
    if (const auto index = log.alternative(record, field, sizeof...(T)))
      read_alternative<0>(log, record, field, *index, target);
    return;
  }
  const BindLog::Mark mark = log.mark();
  for (std::size_t index = 0; index < sizeof...(T); ++index) {
    if (read_alternative<0>(log, record, field, index, target)) return;
    log.forget(mark);
  }
  log.fail(ErrorCode::type_mismatch, "none of the " + std::to_string(sizeof...(T)) + " alternatives fits");
}

/// A value that is there must be right: an optional whose record has the wrong kind or shape is a failure, not empty,
/// and an optional struct that lacks one of its keys fails as that struct does. A null is what PyTorch writes for a
/// parameter that is not there (`bias=False`).
template <class T>
void read_optional(BindLog& log, const Record& record, const FieldSpec& field, T& target) {
  if (record.kind() == RecordKind::null) return target.reset(), log.take_subtree();
  typename T::value_type value = target ? *std::move(target) : typename T::value_type{};
  read_value(log, record, field, value);
  target = std::move(value);
}

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
