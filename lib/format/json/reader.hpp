// format/json/reader.hpp: a strict, bounded JSON parser that reads the text once, front to back. Errors contain the
// byte offset.
//
// Strict means RFC 8259 and nothing more: no comments, trailing commas, NaN, leading zeros, byte order mark, control
// characters in strings, invalid UTF-8, unpaired surrogates or bytes after the end. Values that the caller does not
// need are checked too: Value::skip().
//
// A general parser builds an index or a tree and then walks it. The header of a weight file repeats one flat shape up
// to 100,000 times, and parsing it is most of the time of opening a checkpoint. So this parser walks the text itself,
// and a string without escapes is a view of the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <variant>

#include "core/text.hpp"
#include "format/json/swar.hpp"
#include "heft/bytes.hpp"
#include "heft/error.hpp"
#include "heft/limits.hpp"

namespace heft::format::json {

/// A string with its escapes decoded, and its place. Valid while the Document lives.
struct Key {
  std::string_view text;
  const char* at = nullptr;  ///< Its opening quote in the text.

  /// Returns text == literal. Inline, because members' names are short literals.
  template <std::size_t size>
  [[nodiscard]] bool is(const char (&literal)[size]) const noexcept {
    return text.size() == size - 1 && std::memcmp(text.data(), literal, size - 1) == 0;
  }
};

enum class Kind : std::uint8_t { object, list, text, number, boolean, null };

/// A number: exact if it is an integer of 64 bits, else the nearest double.
using Number = std::variant<std::int64_t, std::uint64_t, double>;

class Document;

/// A value that has not been read yet. Valid inside the callback that receives it, which must read it with exactly one
/// call. `what` names the value in errors: "shape: expected a list, found 3". Every call throws Error{corrupt} if the
/// text is malformed or has another kind of value.
class Value {
 public:
  inline Value(Document& document, std::uint32_t depth) noexcept;

  /// Returns the start of the value, for Document::fail() and Document::offset().
  [[nodiscard]] const char* at() const noexcept { return at_; }
  /// Returns the kind that the first character implies; the value can still be malformed.
  [[nodiscard]] Kind kind(std::string_view what) const;

  /// Calls each(const Key&, Value&) for every member of an object, in order. The caller checks for duplicates.
  template <class Each>
  void members(std::string_view what, Each&& each);
  /// Calls each(Value&) for every element of a list.
  template <class Each>
  void elements(std::string_view what, Each&& each);
  /// Returns a string with its escapes decoded. Valid while the Document lives.
  inline std::string_view text(std::string_view what);
  /// Returns an integer from 0 to 2^64 - 1, written as digits only: "1e1", "2.0", "-0" and "-1" are refused.
  inline std::uint64_t unsigned_integer(std::string_view what);
  /// Returns any number that fits a double.
  Number number(std::string_view what);
  bool boolean(std::string_view what);
  void null(std::string_view what);
  /// Reads and checks any value and discards it.
  void skip(std::string_view what);

 private:
  static constexpr std::string_view unsigned_integer_words = "an integer from 0 to 2^64 - 1";
  [[nodiscard]] std::uint64_t long_unsigned_integer(std::string_view what, const char* end) const;
  [[noreturn]] void mismatch(std::string_view what, std::string_view expected) const;
  void literal(std::string_view word, std::string_view what, std::string_view expected);
  // Steps over the opening bracket.
  inline void enter(char opening, std::string_view what, std::string_view expected) const;

  Document& document_;
  std::uint32_t depth_;  // of containers around it
  const char* at_;
};

/// A text that is one JSON object, and the position that reading has reached.
class Document {
 public:
  /// `offset` is the offset of the text in the file. `limits` must outlive the document.
  Document(Bytes text, std::uint64_t offset, const Limits& limits) noexcept;
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;

  /// Calls each(const Key&, Value&) for every member of the root, then requires the end of the text. Can be called
  /// once.
  template <class Each>
  void members(Each&& each);

  /// Returns the offset in the file of a place in the text.
  [[nodiscard]] std::uint64_t offset(const char* at) const noexcept {
    return offset_ + static_cast<std::uint64_t>(at - begin_);
  }
  [[noreturn]] void fail(ErrorCode code, std::string message, const char* at) const;

 private:
  friend class Value;

  // Returns the next character, or NUL at the end; no token starts with NUL.
  [[nodiscard]] char peek() const noexcept { return at_ < end_ ? *at_ : '\0'; }
  bool take(char wanted) noexcept {
    if (peek() != wanted) return false;
    ++at_;
    return true;
  }
  void space() noexcept {
    if (at_ < end_ && static_cast<unsigned char>(*at_) > ' ') [[likely]]
      return;
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }
  // Consumes the comma between two members or elements and returns true, or consumes the closing bracket and returns
  // false.
  bool more(char closing) {
    space();
    if (take(',')) {
      space();
      return true;
    }
    if (!take(closing)) expected(closing == '}' ? "',' or '}'" : "',' or ']'");
    return false;
  }
  void require_depth(std::uint32_t depth) const {
    if (depth > depth_limit_) [[unlikely]]
      too_deep(depth);
  }
  std::string_view string();
  Key key();
  template <class Each>
  void walk(std::uint32_t depth, Each& each);

  std::string_view string_with_more_than_ascii(const char* from);
  void unescape(std::string& out);
  std::uint32_t hex4();
  [[noreturn]] void too_deep(std::uint32_t depth) const;
  [[noreturn]] void expected(std::string_view what) const;
  [[nodiscard]] std::string found(const char* at) const;

  Bytes text_;
  std::uint64_t offset_;
  std::uint32_t depth_limit_;
  const char* begin_;
  const char* end_;
  const char* at_;  // next character
  core::Arena unescaped_;
};

// Implementation.

constexpr bool ends_token(char c) noexcept {
  return c == ',' || c == ']' || c == '}' || c == ':' || c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

inline std::string_view Document::string() {
  const char* from = ++at_;
  while (end_ - at_ >= 8) {
    const std::size_t plain = first_special(at_);
    at_ += plain;
    if (plain < 8) break;
  }
  if (peek() != '"') [[unlikely]]
    return string_with_more_than_ascii(from);
  return {from, static_cast<std::size_t>(at_++ - from)};
}

inline Key Document::key() {
  if (peek() != '"') [[unlikely]]
    expected("a name in quotes");
  const char* at = at_;
  const std::string_view text = string();
  space();
  if (!take(':')) [[unlikely]]
    expected("':'");
  space();
  return {text, at};
}

template <class Each>
void Document::walk(std::uint32_t depth, Each& each) {
  space();
  if (take('}')) return;
  do {
    const Key name = key();
    Value value(*this, depth);
    each(name, value);
  } while (more('}'));
}

template <class Each>
void Document::members(Each&& each) {
  space();
  if (!take('{')) expected("a JSON object");
  walk(1, each);
  space();
  if (at_ != end_) expected("the end of the JSON text");
}

inline Value::Value(Document& document, std::uint32_t depth) noexcept
    : document_(document), depth_(depth), at_(document.at_) {}

inline void Value::enter(char opening, std::string_view what, std::string_view expected) const {
  document_.require_depth(depth_ + 1);
  if (!document_.take(opening)) [[unlikely]]
    mismatch(what, expected);
}

template <class Each>
void Value::members(std::string_view what, Each&& each) {
  enter('{', what, "an object");
  document_.walk(depth_ + 1, each);
}

template <class Each>
void Value::elements(std::string_view what, Each&& each) {
  enter('[', what, "a list");
  document_.space();
  if (document_.take(']')) return;
  do {
    Value value(document_, depth_ + 1);
    each(value);
  } while (document_.more(']'));
}

inline std::string_view Value::text(std::string_view what) {
  if (document_.peek() != '"') [[unlikely]]
    mismatch(what, "a string");
  return document_.string();
}

inline std::uint64_t Value::unsigned_integer(std::string_view what) {
  constexpr std::uint64_t powers[] = {1, 10, 100, 1000, 10'000, 100'000, 1'000'000, 10'000'000, 100'000'000};
  constexpr std::ptrdiff_t always_fit = 19;  // digits
  const char* at = at_;
  const char* end = document_.end_;
  std::uint64_t number = 0;
  while (end - at >= 8) {
    const Digits next = leading_digits(at);
    number = number * powers[next.count] + next.number;
    at += next.count;
    if (next.count < 8) break;
  }
  for (; at < end && *at >= '0' && *at <= '9'; ++at) number = number * 10 + static_cast<std::uint64_t>(*at - '0');
  const std::ptrdiff_t digits = at - at_;
  const bool goes_on = at < end && !ends_token(*at);
  if (digits == 0 || goes_on || (digits > 1 && *at_ == '0')) [[unlikely]]
    mismatch(what, unsigned_integer_words);
  if (digits > always_fit) [[unlikely]]
    number = long_unsigned_integer(what, at);
  document_.at_ = at;
  return number;
}

}  // namespace heft::format::json
