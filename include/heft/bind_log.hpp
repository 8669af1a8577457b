// heft/bind_log.hpp: reads values out of records for bind(), and keeps its report. The part of bind() that no template
// needs to be.
//
// Users meet it only when they write a reader of their own for a type that describe() cannot say. Rules of each kind of
// value stand in bind.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "heft/bind_options.hpp"
#include "heft/field.hpp"
#include "heft/load_report.hpp"
#include "heft/record.hpp"

namespace heft {

/// Failures are collected, not thrown: what could not be read is an empty optional or an empty list, and a line in
/// LoadReport::errors with the path at which it was met. What is read counts as applied. For one thread; it holds the
/// record's tree.
class HEFT_API BindLog {
 public:
  /// A child and the key that led to it.
  struct Child {
    std::string key;
    Record record;
  };

  /// While it lives, paths in the report end in `key`. Scopes end in the reverse order of their begin.
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

  /// Paths begin with that of `root`. What is under it and is not applied when finish() is called is unused.
  BindLog(Record root, const BindOptions& options);

  /// As given; `gaps` is still Gaps::by_format where the caller left it to the files.
  [[nodiscard]] const BindOptions& options() const noexcept { return options_; }

  /// The child that the field means, by its name or an alias. Nothing when there is none; when there are two, nothing
  /// and a failure, ambiguous.
  [[nodiscard]] std::optional<Child> find(const Record& container, const FieldSpec& field);
  /// Lists the field as missing from `container`; as a failure, not_found. The first 20 failures name the nearest of the keys that are there.
  void missing(const Record& container, const FieldSpec& field, bool is_failure);
  /// Adds a failure at the current path. `sentence` says what was expected and what was found.
  void fail(ErrorCode code, std::string sentence);
  /// Failures so far: a read that added none has succeeded.
  [[nodiscard]] std::size_t failures() const noexcept { return report_.errors.size(); }

  /// A state of the report, for trying alternatives: mark(), read, and forget() everything since when it did not fit.
  struct Mark {
    std::size_t applied, missing, errors, subtrees;
  };
  [[nodiscard]] Mark mark() const noexcept;
  void forget(const Mark& since);

  /// The record's tensor after FieldSpec::reading, of the shape and dtype that the field demands. Fails with
  /// type_mismatch, or what the adapter threw.
  [[nodiscard]] std::optional<TensorView> tensor(const Record& record, const FieldSpec& field);
  /// Scalars, or tensors of one element of the same kind, whose element is then read. Each fails with type_mismatch for
  /// another kind, out_of_range for a number that does not fit.
  [[nodiscard]] std::optional<bool> boolean(const Record& record);
  [[nodiscard]] std::optional<std::int64_t> integer(const Record& record, std::int64_t least, std::int64_t most);
  [[nodiscard]] std::optional<std::uint64_t> natural(const Record& record, std::uint64_t most);
  /// `most` is that of float or of double; infinities and NaN pass. Integers only when asked, and exact in that type.
  [[nodiscard]] std::optional<double> real(const Record& record, double most, bool from_integer);
  /// A copy of the record's text. Bytes and numbers are type_mismatch.
  [[nodiscard]] std::optional<std::string> text(const Record& record);
  /// The text that the checkpoint's metadata has under the current path and the field's name: safetensors have no texts
  /// in the tree.
  [[nodiscard]] std::optional<std::string> metadata_text(const FieldSpec& field);
  /// Everything under the record at the current path counts as applied.
  void take_subtree();

  /// Children of a list in order; of a map of numbers where gaps may be closed. Fails with type_mismatch for anything
  /// else, ambiguous for two spellings of a number.
  [[nodiscard]] std::vector<Child> elements(const Record& record);
  /// Children of a list or map with their keys. Fails with type_mismatch.
  [[nodiscard]] std::vector<Child> pairs(const Record& record);
  /// True when the record has children to be fields; else a failure, type_mismatch.
  [[nodiscard]] bool has_fields(const Record& record);
  /// Which of the field's alternatives, `count` in all, the record's tag names. Fails as Field::tag() says.
  [[nodiscard]] std::optional<std::size_t> alternative(const Record& record, const FieldSpec& field, std::size_t count);

  /// The report, with what was left over. To be called once, at the end.
  [[nodiscard]] LoadReport finish();
  /// Throws the first failure of a report on `from` as an Error with file and path; its sentence ends with how many
  /// more there are. Precondition: !report.ok().
  [[noreturn]] static void throw_first(const LoadReport& report, const Record& from);

 private:
  struct Scalar;
  [[nodiscard]] std::optional<Scalar> scalar(const Record& record, std::string_view expected);
  [[nodiscard]] bool closes_gaps() const;
  void collect_unused();
  void apply() { report_.applied.push_back(path_); }

  Record root_;
  BindOptions options_;
  std::string path_;
  LoadReport report_;
  std::vector<std::string> subtrees_;  // paths of records that were taken whole
  std::size_t hints_ = 0;              // missing fields so far for which near keys were looked up
};

}  // namespace heft
