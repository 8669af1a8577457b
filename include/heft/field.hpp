// heft/field.hpp: one field of a described struct: its name, and the requirements on the record that fills it.
//
//   template <class Fields> void describe(Fields& f) {
//     f("weight", weight).shape({4096, 4096}).adapter(transposed, transposed);
//     f("eps", eps).default_value(1e-5f);
//     f("activation", activation).tag("kind", {"gelu", "glu"});
//   }
//
// One description serves both directions: f is a reader (bind()) or a writer (fields_of(), save()), and each ignores
// the calls that concern only the other.
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

/// The description of one field, as describe() made it. Strings are borrowed from describe() and valid during the call
/// of FieldReader::finish() or FieldWriter::finish().
///
/// Example:
///   heft::FieldSpec spec;                 // made by hand only for a reader of the program's own: see BindLog
///   spec.name = "weight";
///   spec.shape = heft::Shape{4096, 4096};
struct FieldSpec {
  /// Key in the record. A key with dots reaches a record that is nested deeper: "attention.wq.weight".
  std::string_view name = {};
  std::vector<std::string_view> aliases = {};       ///< Other names of the key, for reading only.
  std::optional<Shape> shape = {};                  ///< Required shape of a tensor; in a container, of each tensor.
  std::optional<DType> dtype = {};                  ///< Required dtype of a TensorView; a Slice has its own.
  Adapter reading = {};                             ///< Applied to each tensor before it is checked.
  Adapter writing = {};                             ///< Applied to each tensor before it is saved.
  bool has_default = false;                         ///< The field has a default for a missing key.
  bool from_integer = false;                        ///< A real accepts an integer that is exact.
  bool untagged = false;                            ///< Variants: the alternatives are tried in order.
  std::string_view tag = {};                        ///< Variants: the key whose text names the alternative ...
  std::vector<std::string_view> alternatives = {};  ///< ... among these, in the variant's order.
};

/// The result of f("name", member). Its members add requirements to the field and return it, so that calls chain; the
/// field is read or written by the destructor, when the statement ends.
///
/// Made and used within describe() only, on one thread. `Engine` is FieldReader or FieldWriter; programs do not name
/// it.
///
/// Example:
///   struct Norm {
///     heft::TensorView gamma;
///     float eps = 0;
///     template <class Fields> void describe(Fields& f) {
///       f("gamma", gamma).alias("weight").shape({4096});
///       f("eps", eps).default_value(1e-5f);
///     }
///   };
///   Norm norm;
///   heft::bind(record, norm);
template <class Engine, class T>
class Field {
 public:
  Field(Engine& engine, std::string_view name, T& target) noexcept : engine_(engine), target_(target) {
    spec_.name = name;
  }
  Field(const Field&) = delete;
  Field& operator=(const Field&) = delete;
  /// Reads or writes the field. Reading collects failures, so that only std::bad_alloc and exceptions of the caller's
  /// adapter come out of it; writing throws what the members of FieldList throw. When an exception ended the statement
  /// (no memory for an alias), the description is incomplete, and the destructor does nothing.
  ~Field() noexcept(false) {
    if (std::uncaught_exceptions() == exceptions_before_) engine_.finish(spec_, target_, default_);
  }

  /// Adds another name of the key, for reading; can be called several times. A key that is found under it counts as
  /// used. A record that has two of the names is a failure, ambiguous. Fields are always written under their own name.
  Field& alias(std::string_view name) {
    spec_.aliases.push_back(name);
    return *this;
  }

  /// Sets the value for a missing key, which then is neither a failure nor listed as missing. A record of the wrong
  /// kind under the key is a failure nevertheless.
  Field& default_value(T value) {
    spec_.has_default = true;
    if constexpr (Engine::reads) default_ = std::move(value);
    return *this;
  }

  /// Requires the shape of a tensor, after the reading adapter: another is a failure, type_mismatch, which names both
  /// shapes. A saved Slice gets this shape, because a Slice itself has only a count.
  Field& shape(Shape shape) {
    spec_.shape = std::move(shape);
    return *this;
  }

  /// Requires the dtype of a TensorView, after the reading adapter: another is a failure, type_mismatch. Without it any
  /// dtype is accepted. Nothing is converted in either case.
  Field& dtype(DType dtype) {
    spec_.dtype = dtype;
    return *this;
  }

  /// Replaces each tensor by the result of `reading` when it is read, and by that of `writing` when it is saved: for
  /// example a transposition and its inverse. See heft/adapter.hpp. An Error that `reading` throws is a failure of this
  /// field.
  Field& adapter(Adapter reading, Adapter writing = {}) {
    spec_.reading = std::move(reading);
    spec_.writing = std::move(writing);
    return *this;
  }

  /// Lets a float or double accept an integer that is exact in that type. Without it an integer is a failure,
  /// type_mismatch.
  Field& from_integer() {
    spec_.from_integer = true;
    return *this;
  }

  /// Selects the first alternative of a variant for which the record passes every check, in the variant's order. A try
  /// binds views and copies no payload; what a failed try recorded is discarded. No alternative fits: a failure,
  /// type_mismatch.
  Field& untagged() {
    spec_.untagged = true;
    return *this;
  }

  /// Selects the alternative of a variant by the record's text `key` (where the tree has none, by the checkpoint's
  /// metadata of that path): the position of the text among `names`, which has one name for each alternative. A missing
  /// text is a failure, not_found; a text that is not among the names, out_of_range. Saving writes the text as
  /// metadata.
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
