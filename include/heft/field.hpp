// heft/field.hpp: one field of a described struct: its name, and what is demanded of the record that fills it.
//
//   template <class Fields> void describe(Fields& f) {
//     f("weight", weight).shape({4096, 4096}).adapter(transposed, transposed);
//     f("eps", eps).otherwise(1e-5f);
//     f("activation", activation).tag("kind", {"gelu", "glu"});
//   }
//
// The same words serve both directions: f is a reader (bind()) or a writer (fields_of(), save()), and each passes over
// what is only for the other.
#pragma once

#include <exception>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "heft/adapter.hpp"
#include "heft/dtype.hpp"
#include "heft/shape.hpp"

namespace heft {

/// What describe() said of a field. Strings are borrowed from the caller for the time of the call.
struct FieldSpec {
  /// Key in the record; may hold dots, for a field of a struct that the record nests deeper.
  std::string_view name = {};
  std::vector<std::string_view> aliases = {};  ///< Other names that the key may have, when reading.
  std::optional<Shape> shape = {};             ///< Of a tensor field, exactly. For containers: of each tensor in them.
  std::optional<DType> dtype = {};             ///< Of a TensorView field; a Slice has its own.
  Adapter reading = {};                        ///< Applied to each tensor before it is checked.
  Adapter writing = {};                        ///< Applied to each tensor before it is saved.
  bool has_default = false;                    ///< The field has a value of its own where the key is missing.
  bool from_integer = false;                   ///< A real takes an integer that is exact.
  bool first_that_fits = false;                ///< Variants: alternatives are tried in order.
  std::string_view tag = {};                   ///< Variants: the key whose text names the alternative ...
  std::vector<std::string_view> alternatives = {};  ///< ... among these, in the variant's order.
};

/// What f("name", member) returns: says more about the field. Each call returns the field itself, so calls chain; the
/// field is read or written when the statement ends.
///
/// Made and used within describe() only, on one thread. `Engine` is the direction; a user never names it.
template <class Engine, class T>
class Field {
 public:
  Field(Engine& engine, std::string_view name, T& target) noexcept : engine_(engine), target_(target) {
    spec_.name = name;
  }
  Field(const Field&) = delete;
  Field& operator=(const Field&) = delete;
  /// The field is done here, after all that was said of it. Reading collects failures, so that nothing but lack of
  /// memory and an adapter of the caller's throws; writing throws what FieldList says.
  /// A statement that an exception ends (no memory for an alias) does not get here with the field: it is left alone.
  ~Field() noexcept(false) {
    if (std::uncaught_exceptions() == exceptions_before_) engine_.finish(spec_, target_, default_);
  }

  /// Another name that the key may have; may be said several times. Keys found under it count as used. A record that
  /// has two of the names is Error{ambiguous}. Fields are always written under their own name.
  Field& alias(std::string_view name) {
    spec_.aliases.push_back(name);
    return *this;
  }

  /// The value where the key is missing, which then is no failure and not reported. A record of the wrong kind under
  /// the key still is one.
  Field& otherwise(T value) {
    spec_.has_default = true;
    if constexpr (Engine::reads) default_ = std::move(value);
    return *this;
  }

  /// Demands the shape of a tensor, after the reading adapter: Error{type_mismatch} saying both shapes. For a Slice
  /// that is saved, the shape it gets, for a slice has only a count.
  Field& shape(Shape shape) {
    spec_.shape = std::move(shape);
    return *this;
  }

  /// Demands the dtype of a TensorView, after the reading adapter: Error{type_mismatch}. Without it any dtype will do;
  /// nothing is converted.
  Field& dtype(DType dtype) {
    spec_.dtype = dtype;
    return *this;
  }

  /// A view of each tensor to use in its place, when reading and, with the other direction, when saving: a
  /// transposition and its inverse, say. See heft/adapter.hpp; what `reading` throws as Error is a failure of this
  /// field.
  Field& adapter(Adapter reading, Adapter writing = {}) {
    spec_.reading = std::move(reading);
    spec_.writing = std::move(writing);
    return *this;
  }

  /// Lets a float or double take an integer, when it is exactly that real; else an integer is Error{type_mismatch}.
  Field& from_integer() {
    spec_.from_integer = true;
    return *this;
  }

  /// A variant: the first alternative that the record fits in every check, in the variant's order. Nothing but views is
  /// tried: the subtree is not copied, and what a failed try saw is forgotten. When none fits, Error{type_mismatch}.
  Field& first_that_fits() {
    spec_.first_that_fits = true;
    return *this;
  }

  /// A variant: the record's text `key` (or, where the tree has none, the checkpoint's metadata of that path) says
  /// which alternative it is, by its place among `names`, one for each alternative. Error{not_found} without such a
  /// text, Error{out_of_range} for another word. Saving writes it.
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
  int exceptions_before_ = std::uncaught_exceptions();
};

}  // namespace heft
