// heft/bind_log.hpp: reads values out of records for bind() and collects its report. This is the part of bind() that is
// compiled into the library; the templates of field_reader.hpp call it.
//
// A program uses it directly only to write its own reader for a type that describe() cannot express. The table in
// bind.hpp lists the records that each kind of value accepts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "heft/bind_options.hpp"
#include "heft/bind_report.hpp"
#include "heft/field.hpp"
#include "heft/record.hpp"

namespace heft {

/// Reads values and collects failures instead of throwing them: a value that cannot be read is an empty optional or an
/// empty list, and an entry of BindReport::errors with the current path. A value that was read is listed as applied.
///
/// Used by one thread for one bind(). It holds the tree of the root record. Members throw std::bad_alloc, and what an
/// adapter throws that is not an Error; nothing else.
///
/// Example:
///   heft::BindLog log(record, {});
///   const std::optional<std::string> name = log.text(record["name"]);   // a failure if it is not a text
///   const heft::BindReport report = log.finish();
class HEFT_API BindLog {
 public:
  /// A child and the key under which it was found: the field's name, an alias, or a list's number.
  struct Child {
    std::string key;
    Record record;
  };

  /// Appends `key` to the current path while it lives. Scopes must end in the reverse order of their construction.
  class Scope {
   public:
    Scope(BindLog& log, std::string_view key) : log_(log), size_(log.path_.size()) {
      if (size_ != 0) log_.path_ += '.';
      log_.path_ += key;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() { log_.path_.resize(size_); }

   private:
    BindLog& log_;
    std::size_t size_;
  };

  /// Paths start with that of `root`. finish() lists every leaf under `root` that was not applied as unused.
  BindLog(Record root, const BindOptions& options);

  /// The options as given; `gaps` can be Gaps::by_format. Borrowed: valid while this BindLog lives.
  [[nodiscard]] const BindOptions& options() const& noexcept { return options_; }

  /// Returns the child that has the field's name or one of its aliases, or nothing. When two of the names exist:
  /// nothing, and a failure, ambiguous.
  [[nodiscard]] std::optional<Child> find(const Record& container, const FieldSpec& field);
  /// Lists the field as missing from `container`; with `is_failure` also as a failure, not_found. The first 20 failures
  /// name the nearest of the existing keys: each such search reads all keys of the container.
  void missing(const Record& container, const FieldSpec& field, bool is_failure);
  /// Adds a failure at the current path. `message` states what was expected and what was found.
  void fail(ErrorCode code, std::string message);
  /// Number of failures so far. A read that did not increase it has succeeded.
  [[nodiscard]] std::size_t failures() const noexcept { return report_.errors.size(); }

  /// A state of the report, to try the alternatives of a variant: mark(), read, and forget() what was recorded since,
  /// when the alternative does not fit.
  struct Mark {
    std::size_t applied, missing, errors, subtrees;
  };
  [[nodiscard]] Mark mark() const noexcept;
  void forget(const Mark& since);

  /// Returns the record's tensor after the adapter FieldSpec::reading. Fails with type_mismatch for another kind of
  /// record, or a shape or dtype other than the field's, and with the Error that the adapter threw.
  [[nodiscard]] std::optional<TensorView> tensor(const Record& record, const FieldSpec& field);
  /// Return a scalar, or the element of a tensor of one element of the same kind (the only payload that a bind reads).
  /// Each fails with type_mismatch for another kind, out_of_range for a number outside the bounds.
  [[nodiscard]] std::optional<bool> boolean(const Record& record);
  [[nodiscard]] std::optional<std::int64_t> integer(const Record& record, std::int64_t least, std::int64_t most);
  [[nodiscard]] std::optional<std::uint64_t> unsigned_integer(const Record& record, std::uint64_t most);
  /// `most` is the largest finite value of float or of double; infinities and NaN pass. An integer is accepted only
  /// with `from_integer`, and only if it is exact in that type.
  [[nodiscard]] std::optional<double> real(const Record& record, double most, bool from_integer);
  /// Returns a copy of the record's text. Fails with type_mismatch for all other kinds, bytes and numbers too.
  [[nodiscard]] std::optional<std::string> text(const Record& record);
  /// Returns the text that the checkpoint's metadata has under the current path and the field's name, or nothing
  /// without a failure. safetensors files have texts in their metadata only.
  [[nodiscard]] std::optional<std::string> metadata_text(const FieldSpec& field);
  /// Marks everything under the current path as applied.
  void take_subtree();

  /// Returns the children of a list in order, or of a map of numbers where BindOptions::gaps allows it. Fails with
  /// type_mismatch for any other record, ambiguous for two spellings of a number.
  [[nodiscard]] std::vector<Child> elements(const Record& record);
  /// Returns the children of a list or map with their keys, in order. Fails with type_mismatch for any other record.
  [[nodiscard]] std::vector<Child> pairs(const Record& record);
  /// Returns true for a record with children; for any other, false and a failure, type_mismatch.
  [[nodiscard]] bool has_fields(const Record& record);
  /// Returns the index of the alternative that the record's tag names; the variant has `count` alternatives. Fails with
  /// not_found without a tag, with out_of_range for an unknown word and for a field that does not name all
  /// alternatives.
  [[nodiscard]] std::optional<std::size_t> alternative(const Record& record, const FieldSpec& field, std::size_t count);

  /// Returns the report with the unused and skipped names; under Strict::yes each unused name is a failure. Call it
  /// once, as the last member.
  [[nodiscard]] BindReport finish();
  /// Throws the first failure of a report on `from` as an Error with file and record; its message ends with the number
  /// of further failures. Requires !report.ok().
  [[noreturn]] static void throw_first(const BindReport& report, const Record& from);

 private:
  struct Scalar;
  [[nodiscard]] std::optional<Scalar> scalar(const Record& record, std::string_view expected);
  [[nodiscard]] bool closes_gaps() const;
  void collect_unused();
  void apply() { report_.applied.push_back(path_); }

  Record root_;
  BindOptions options_;
  std::string path_;
  BindReport report_;
  std::vector<std::string> subtrees_;  // paths given to take_subtree()
  std::size_t hints_ = 0;              // missing fields so far for which the nearest keys were searched
};

}  // namespace heft
