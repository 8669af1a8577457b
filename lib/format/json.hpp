// format/json.hpp: JSON as formats meet it: bounded, strict, every finding with its byte offset. The only code that knows simdjson.
//
// simdjson first indexes the whole text (and so checks UTF-8 and strings), then hands out values in order while one walks. What is not
// walked is not checked; therefore every value given to a callback must be consumed by exactly one call, and skip() reads what it passes over.
// Strict means RFC 8259: no comments, trailing commas, NaN, byte order mark, unpaired surrogates or bytes after the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <simdjson.h>

#include "core/endian.hpp"
#include "core/input.hpp"
#include "heft/bytes.hpp"
#include "heft/error.hpp"
#include "heft/limits.hpp"

namespace heft::format::json {

namespace ondemand = simdjson::ondemand;

/// A JSON text with readable bytes after it, as simdjson's wide loads need them.
struct Text {
  Bytes bytes;               ///< The text and at least SIMDJSON_PADDING bytes more, of any value.
  std::uint64_t size = 0;    ///< Bytes of the text.
  std::uint64_t offset = 0;  ///< Byte offset of the text in the file.
};

/// `size` bytes of `input` from `offset`, padded. Throws what Input::read throws.
Text read_text(const core::Input& input, std::uint64_t offset, std::uint64_t size);

/// Position of the first quote or backslash at or after `from`. There must be one, and 7 readable bytes after it.
inline const char* quote_or_backslash(const char* from) noexcept {
  constexpr std::uint64_t ones = 0x0101'0101'0101'0101;
  // The classic test for a zero byte: a false hit needs a true one below it, so the lowest hit is always true.
  const auto zero_bytes = [](std::uint64_t word) { return (word - ones) & ~word & (ones << 7); };
  for (;; from += 8) {
    const auto word = core::load_le<std::uint64_t>(reinterpret_cast<const std::byte*>(from));
    const std::uint64_t hits = zero_bytes(word ^ (ones * '"')) | zero_bytes(word ^ (ones * '\\'));
    if (hits != 0) return from + __builtin_ctzll(hits) / 8;
  }
}

/// The key of a member: its text without escapes, and where it stands. Valid as long as the Document.
struct Key {
  std::string_view text;
  const char* at = nullptr;  ///< Its opening quote in the text.
};

enum class Kind : std::uint8_t { object, list, text, number, boolean, null };

class Document;

/// A value that is about to be read. Valid inside the callback that it is given to. `what` names it in errors: "shape: expected a list...".
class Value {
 public:
  Value(ondemand::value value, Document& document, std::uint32_t depth) noexcept
      : value_(value), document_(document), depth_(depth), at_(value_.raw_json_token().data()) {}

  /// Where the value begins in the text: for Document::fail() and Document::offset().
  [[nodiscard]] const char* at() const noexcept { return at_; }
  /// What the first character promises; reading may still find it malformed. Throws Error{corrupt} when no value begins so.
  [[nodiscard]] Kind kind(std::string_view what) const;

  /// Calls each(const Key&, Value&) for every member of an object, in order; duplicates are the caller's to judge.
  template <class Each>
  void members(std::string_view what, Each&& each);
  /// Calls each(Value&) for every element of a list.
  template <class Each>
  void elements(std::string_view what, Each&& each);
  /// A string without its escapes. Valid as long as the Document.
  std::string_view text(std::string_view what);
  /// An integer from 0 to 2^64 - 1, written as digits only: "1e1", "2.0", "-0" and "-1" are refused.
  std::uint64_t natural(std::string_view what);
  bool boolean(std::string_view what);
  /// Reads `null`; the caller has asked kind().
  void null(std::string_view what);
  /// Any number: exact as a 64-bit integer where it is one, else the nearest double. Throws Error{corrupt} beyond a double.
  ondemand::number number(std::string_view what);
  /// Reads any value and forgets it.
  void skip(std::string_view what);

 private:
  [[noreturn]] void mismatch(std::string_view what, std::string_view expected) const;
  void enter(char opening, std::string_view what, std::string_view expected) const;

  ondemand::value value_;
  Document& document_;
  std::uint32_t depth_;  // of containers around it
  const char* at_;
};

/// A text that is an object, and simdjson's index of it: four bytes for each brace, comma, colon and scalar.
class Document {
 public:
  /// Checks what can be told without walking. `limits` must outlive the document. Throws Error{corrupt}.
  Document(Text text, const Limits& limits);
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;

  /// Calls each(const Key&, Value&) for every member of the root, then requires the end of the text. Can be called once.
  template <class Each>
  void members(Each&& each);

  /// Byte offset in the file of a place in the text.
  [[nodiscard]] std::uint64_t offset(const char* at) const noexcept { return text_.offset + static_cast<std::uint64_t>(at - begin()); }
  [[noreturn]] void fail(ErrorCode code, std::string sentence, const char* at) const;

 private:
  friend class Value;
  [[nodiscard]] const char* begin() const noexcept { return reinterpret_cast<const char*>(text_.bytes.data()); }
  [[noreturn]] void fail_syntax(simdjson::error_code error, const char* at) const;
  [[noreturn]] void fail_walk(simdjson::error_code error);  // at the token that was looked at last
  void require_depth(std::uint32_t depth, const char* at) const;
  void require_end();
  std::string_view checked(simdjson::simdjson_result<std::string_view> unescaped, const char* at);
  Key key(ondemand::field& field);
  template <class Each>
  void walk(ondemand::object& object, std::uint32_t depth, Each& each);

  Text text_;
  const Limits& limits_;
  ondemand::parser parser_;
  ondemand::document document_;
};

// Implementation of the templates.

template <class Each>
void Document::walk(ondemand::object& object, std::uint32_t depth, Each& each) {
  for (auto result : object) {
    ondemand::field field;
    if (const auto error = std::move(result).get(field)) fail_walk(error);
    const Key name = key(field);
    Value value(field.value(), *this, depth);
    each(name, value);
  }
}

template <class Each>
void Document::members(Each&& each) {
  ondemand::object object;
  if (const auto error = document_.get_object().get(object)) fail_walk(error);
  walk(object, 1, each);
  require_end();
}

template <class Each>
void Value::members(std::string_view what, Each&& each) {
  enter('{', what, "an object");
  ondemand::object object;
  if (const auto error = value_.get_object().get(object)) document_.fail_walk(error);
  document_.walk(object, depth_ + 1, each);
}

template <class Each>
void Value::elements(std::string_view what, Each&& each) {
  enter('[', what, "a list");
  ondemand::array array;
  if (const auto error = value_.get_array().get(array)) document_.fail_walk(error);
  for (auto result : array) {
    ondemand::value element;
    if (const auto error = std::move(result).get(element)) document_.fail_walk(error);
    Value value(element, document_, depth_ + 1);
    each(value);
  }
}

inline void Value::enter(char opening, std::string_view what, std::string_view expected) const {
  if (*at_ != opening) mismatch(what, expected);
  document_.require_depth(depth_ + 1, at_);
}

inline std::string_view Value::text(std::string_view what) {
  if (*at_ != '"') mismatch(what, "a string");
  const char* end = quote_or_backslash(at_ + 1);
  if (*end == '\\') [[unlikely]] return document_.checked(value_.get_string(), at_);
  ondemand::raw_json_string raw;
  if (const auto error = value_.get_raw_json_string().get(raw)) document_.fail_walk(error);
  return {at_ + 1, static_cast<std::size_t>(end - at_ - 1)};
}

inline std::uint64_t Value::natural(std::string_view what) {
  std::uint64_t number = 0;
  if (value_.get_uint64().get(number)) mismatch(what, "an integer from 0 to 2^64 - 1");
  return number;
}

inline Key Document::key(ondemand::field& field) {
  const char* from = field.key().raw();
  const char* end = quote_or_backslash(from);
  if (*end == '\\') [[unlikely]] return {checked(field.unescaped_key(), from - 1), from - 1};
  return {{from, static_cast<std::size_t>(end - from)}, from - 1};
}

}  // namespace heft::format::json
