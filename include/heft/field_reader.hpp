// heft/field_reader.hpp: how the fields of a struct are filled from a record. Used through bind.hpp.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "heft/field.hpp"
#include "heft/load_report.hpp"
#include "heft/record.hpp"

namespace heft {

/// Whether keys that no field wants are a failure.
enum class Strict : std::uint8_t { no, yes };

/// What a missing key is, for fields that are neither optional nor have a default.
enum class Missing : std::uint8_t {
  refuse,       ///< A failure.
  use_default,  ///< An empty vector, map or string, or 0; still a failure for tensors, structs, arrays and variants. Reported as missing.
};

/// Whether a vector is filled from a map whose keys are numbers with gaps (PyTorch's Sequential), in their order.
enum class Gaps : std::uint8_t {
  by_format,  ///< close for PyTorch's files, refuse for all others.
  refuse,
  close,
};

/// What bind() can be asked.
struct BindOptions {
  Strict strict = Strict::no;
  Missing missing = Missing::refuse;
  Gaps gaps = Gaps::by_format;
};

/// Reads values out of records and keeps the report. Failures are collected, not thrown: what could not be read is an empty optional. One thread.
class HEFT_API BindLog {
 public:
  /// A child and the key that led to it.
  struct Child {
    std::string key;
    Record record;
  };
  /// While it lives, paths in the report end in `key`.
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

  BindLog(Record root, const BindOptions& options);

  [[nodiscard]] const BindOptions& options() const noexcept { return options_; }
  /// The child that the field means, by its name or an alias. Nothing when there is none, or when there are two, which is a failure.
  [[nodiscard]] std::optional<Child> find(const Record& container, const FieldSpec& field);
  void missing(const Record& container, const FieldSpec& field, bool is_failure);
  void fail(ErrorCode code, std::string sentence);
  /// Failures so far: a read that added none has succeeded.
  [[nodiscard]] std::size_t failures() const noexcept { return report_.errors.size(); }
  /// Forgets everything since, for trying alternatives.
  struct Mark {
    std::size_t applied, missing, errors, subtrees;
  };
  [[nodiscard]] Mark mark() const noexcept;
  void forget(const Mark& since);

  /// The value of a leaf, which counts as applied.
  [[nodiscard]] std::optional<TensorView> tensor(const Record& record, const FieldSpec& field);
  [[nodiscard]] std::optional<bool> boolean(const Record& record);
  [[nodiscard]] std::optional<std::int64_t> integer(const Record& record, std::int64_t least, std::int64_t most);
  [[nodiscard]] std::optional<std::uint64_t> natural(const Record& record, std::uint64_t most);
  [[nodiscard]] std::optional<double> real(const Record& record, double most, bool from_integer);
  [[nodiscard]] std::optional<std::string> text(const Record& record);
  /// The text that the checkpoint's metadata has under the current path and the field's name.
  [[nodiscard]] std::optional<std::string> metadata_text(const FieldSpec& field);
  /// Everything under the record counts as applied.
  void take_subtree();
  /// Children of a list in order; of a map of numbers where gaps may be closed. A failure for anything else.
  [[nodiscard]] std::vector<Child> elements(const Record& record);
  /// Children of a list or map with their keys.
  [[nodiscard]] std::vector<Child> pairs(const Record& record);
  /// False, and a failure, unless the record has children to be fields.
  [[nodiscard]] bool has_fields(const Record& record);
  /// Which of the field's alternatives the record's tag names.
  [[nodiscard]] std::optional<std::size_t> alternative(const Record& record, const FieldSpec& field, std::size_t count);

  /// The report, with what was left over.
  [[nodiscard]] LoadReport finish();
  [[noreturn]] static void throw_first(const LoadReport& report);

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
};

namespace detail {

template <class T>
void read_value(BindLog& log, const Record& record, const FieldSpec& field, T& target);

/// The engine that describe() is given for reading.
class FieldReader {
 public:
  static constexpr bool reads = true;
  FieldReader(BindLog& log, const Record& record) noexcept : log_(log), record_(record) {}

  template <class T>
  Field<FieldReader, T> operator()(std::string_view name, T& target) { return {*this, name, target}; }

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
  template <class T>
  void absent(const FieldSpec& field, T& target, std::optional<T>& otherwise) {
    constexpr bool has_empty = is_vector<T> || is_map<T> || Number<T> || std::is_same_v<T, std::string>;
    if constexpr (std::is_same_v<T, std::string>) {
      if (auto text = log_.metadata_text(field)) return void(target = *std::move(text));
    }
    if (otherwise) {
      target = *std::move(otherwise);
    } else if constexpr (is_optional<T>) {
      target.reset();
    } else if constexpr (has_empty) {
      const bool is_failure = log_.options().missing == Missing::refuse;
      log_.missing(record_, field, is_failure);
      if (!is_failure) target = T{};
    } else {
      log_.missing(record_, field, true);
    }
  }

  BindLog& log_;
  const Record& record_;
};

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

template <class T>
void read_elements(BindLog& log, const Record& record, const FieldSpec& field, T& target) {
  const std::size_t before = log.failures();
  const std::vector<BindLog::Child> elements = log.elements(record);
  if (log.failures() != before) return;
  if constexpr (is_vector<T>) target.resize(elements.size());
  if (elements.size() != target.size())
    return log.fail(ErrorCode::out_of_range, "expected a list of " + std::to_string(target.size()) + ", found " + std::to_string(elements.size()));
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const BindLog::Scope scope(log, elements[i].key);
    // vector<bool> has no elements to refer to.
    std::remove_cvref_t<typename T::value_type> value = std::move(target[i]);
    read_value(log, elements[i].record, field, value);
    target[i] = std::move(value);
  }
}

template <class T>
void read_map(BindLog& log, const Record& record, const FieldSpec& field, T& target) {
  target.clear();
  for (const BindLog::Child& child : log.pairs(record)) {
    const BindLog::Scope scope(log, child.key);
    read_value(log, child.record, field, target[child.key]);
  }
}

/// Alternative number `index`, into a value of its own that replaces the target when it could be read.
template <std::size_t I, class... T>
bool read_alternative(BindLog& log, const Record& record, const FieldSpec& field, std::size_t index, std::variant<T...>& target) {
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

template <class... T>
void read_variant(BindLog& log, const Record& record, const FieldSpec& field, std::variant<T...>& target) {
  if (!field.first_that_fits) {
    if (const auto index = log.alternative(record, field, sizeof...(T))) read_alternative<0>(log, record, field, *index, target);
    return;
  }
  // Only views are tried: a subtree is never copied.
  const BindLog::Mark mark = log.mark();
  for (std::size_t index = 0; index < sizeof...(T); ++index) {
    if (read_alternative<0>(log, record, field, index, target)) return;
    log.forget(mark);
  }
  log.fail(ErrorCode::type_mismatch, "none of the " + std::to_string(sizeof...(T)) + " alternatives fits");
}

template <class T>
void read_value(BindLog& log, const Record& record, const FieldSpec& field, T& target) {
  if constexpr (std::is_same_v<T, TensorView> || is_slice<T>) {
    read_tensor(log, record, field, target);
  } else if constexpr (Number<T>) {
    read_number(log, record, field, target);
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (auto text = log.text(record)) target = *std::move(text);
  } else if constexpr (std::is_same_v<T, Record>) {
    target = record;
    log.take_subtree();
  } else if constexpr (is_optional<T>) {
    if (record.kind() == RecordKind::null) return target.reset(), log.take_subtree();
    typename T::value_type value = target ? *std::move(target) : typename T::value_type{};
    read_value(log, record, field, value);
    target = std::move(value);
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

}  // namespace detail
}  // namespace heft
