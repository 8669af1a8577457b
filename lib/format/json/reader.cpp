#include "format/json/reader.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "core/utf8.hpp"

namespace heft::format::json {
namespace {

// Caps Limits::json_depth: skip() recurses, and a very large limit would overflow the stack.
constexpr std::uint64_t deepest = 512;

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

// Returns the first character from `at` on that is no digit, or `end`.
const char* digits_from(const char* at, const char* end) noexcept { return std::find_if_not(at, end, is_digit); }

// Returns the end of the number at `at` by the grammar of RFC 8259, or `at` if there is none.
const char* number_end(const char* at, const char* end) noexcept {
  const char* from = at;
  if (at < end && *at == '-') ++at;
  const char* integer = at;
  at = digits_from(at, end);
  // RFC 8259 requires a digit and forbids leading zeros: "01" is read as octal by some programs and as 1 by others.
  if (at == integer || (at - integer > 1 && *integer == '0')) return from;
  if (at < end && *at == '.') {
    const char* fraction = at + 1;
    at = digits_from(fraction, end);
    if (at == fraction) return from;
  }
  if (at < end && (*at == 'e' || *at == 'E')) {
    ++at;
    if (at < end && (*at == '+' || *at == '-')) ++at;
    const char* exponent = at;
    at = digits_from(exponent, end);
    if (at == exponent) return from;
  }
  // A number must end at a delimiter; "1x" is no number, not 1 followed by something.
  return at < end && !ends_token(*at) ? from : at;
}

}  // namespace

Document::Document(Bytes text, std::uint64_t offset, const Limits& limits) noexcept
    : text_(std::move(text)),
      offset_(offset),
      depth_limit_(static_cast<std::uint32_t>(std::min(limits.json_depth, deepest))),
      begin_(reinterpret_cast<const char*>(text_.data())),
      end_(begin_ + text_.size_bytes()),
      at_(begin_) {}

void Document::fail(ErrorCode code, std::string message, const char* at) const {
  throw Error(code, std::move(message), {.offset = offset(at)});
}

void Document::too_deep(std::uint32_t depth) const {
  fail(ErrorCode::limit_exceeded,
       fmt::format("the nesting of the JSON text: {} is over Limits::json_depth = {}", depth, depth_limit_), at_);
}

void Document::expected(std::string_view what) const {
  fail(ErrorCode::corrupt, fmt::format("malformed JSON: expected {}, found {}", what, found(at_)), at_);
}

std::string Document::found(const char* at) const {
  if (at >= end_) return "the end";
  switch (*at) {
    case '{': return "an object";
    case '[': return "a list";
    case '"': return "a string";
    default: break;
  }
  const char* to = std::find_if(at + 1, end_, ends_token);
  return core::escaped({at, static_cast<std::size_t>(to - at)}, 40);
}

// Reads the rest, from at_, of a string that has escapes or characters beyond ASCII, or is malformed.
std::string_view Document::string_with_more_than_ascii(const char* from) {
  // Strings without escapes in plain ASCII end in string(), eight bytes at a time; here are the others, and those in
  // the last seven bytes of the text. at_ is at the first character that stopped the fast loop; those before it are
  // plain.
  const char* opening = from - 1;
  bool escapes = false;
  std::string out;
  for (;;) {
    const char* special =
        std::find_if(at_, end_, [](char c) { return c == '"' || c == '\\' || static_cast<unsigned char>(c) < ' '; });
    at_ = special;
    if (special == end_) fail(ErrorCode::corrupt, "malformed JSON: a string is not closed", opening);
    if (*special == '"') break;
    if (*special != '\\')
      fail(ErrorCode::corrupt, "malformed JSON: a string holds a control character that is not escaped", special);
    escapes = true;
    // `out` collects the decoded text: what lies before the escape is copied, then unescape() appends its meaning.
    out.append(from, special);
    unescape(out);
    from = at_;
  }
  out.append(from, at_);
  // Decoded escapes are always valid UTF-8, so an error here comes from bytes of the text.
  if (!core::is_utf8(out)) fail(ErrorCode::corrupt, "malformed JSON: a string is not UTF-8", opening);
  // Without escapes the text itself is the value; the copy in `out` only served the check.
  const std::string_view plain(from, static_cast<std::size_t>(at_ - from));
  ++at_;
  return escapes ? unescaped_.store(out) : plain;
}

// Decodes one escape, starting at its backslash.
void Document::unescape(std::string& out) {
  constexpr std::string_view letters = "\"\\/bfnrt";
  constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
  const char* backslash = at_++;
  const char letter = peek();
  if (const std::size_t i = letters.find(letter); i != letters.npos) {
    out += meanings[i];
    ++at_;
    return;
  }
  if (!take('u')) fail(ErrorCode::corrupt, "malformed JSON: a string holds an unknown escape", backslash);
  std::uint32_t code = hex4();
  // Code points from U+10000 on are spelled as two surrogates in UTF-16. A first half without a second stays a
  // surrogate and fails below.
  if (code >= 0xD800 && code < 0xDC00 && take('\\') && take('u')) {
    const std::uint32_t low = hex4();
    code = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : code;
  }
  if (code >= 0xD800 && code < 0xE000)
    fail(ErrorCode::corrupt, "malformed JSON: a string holds an unpaired surrogate", backslash);
  core::append_utf8(out, code);
}

std::uint32_t Document::hex4() {
  std::uint32_t code = 0;
  // from_chars() would read more than four digits; it accepts no sign and no "0x" here.
  const char* to = end_ - at_ < 4 ? end_ : at_ + 4;
  const auto [end, error] = std::from_chars(at_, to, code, 16);
  if (error != std::errc() || end - at_ != 4)
    fail(ErrorCode::corrupt, "malformed JSON: expected four hexadecimal digits after \\u", at_);
  at_ = end;
  return code;
}

Kind Value::kind(std::string_view what) const {
  switch (const char first = document_.peek()) {
    case '{': return Kind::object;
    case '[': return Kind::list;
    case '"': return Kind::text;
    case 't':
    case 'f': return Kind::boolean;
    case 'n': return Kind::null;
    default:
      if (first != '-' && !is_digit(first)) mismatch(what, "a value");
      return Kind::number;
  }
}

Number Value::number(std::string_view what) {
  const char* to = number_end(at_, document_.end_);
  if (to == at_) mismatch(what, "a number");
  document_.at_ = to;
  // A type fits if from_chars() consumes the whole number: an integer type stops at '.' or 'e', and reports one that
  // is out of its range.
  const auto parse = [&](auto& number) {
    const auto [end, error] = std::from_chars(at_, to, number);
    return error == std::errc() && end == to;
  };
  std::int64_t integer = 0;
  std::uint64_t unsigned_integer = 0;
  double real = 0;
  if (parse(integer)) return integer;
  if (parse(unsigned_integer)) return unsigned_integer;
  if (!parse(real)) mismatch(what, "a number that fits a double");
  return real;
}

// Reads a number of twenty digits or more, which can be over 64 bits.
std::uint64_t Value::long_unsigned_integer(std::string_view what, const char* end) const {
  std::uint64_t number = 0;
  // Digits were counted by the caller; from_chars() detects a value over 2^64 - 1.
  if (std::from_chars(at_, end, number).ec != std::errc()) mismatch(what, unsigned_integer_words);
  return number;
}

void Value::literal(std::string_view word, std::string_view what, std::string_view expected) {
  const std::string_view rest(at_, static_cast<std::size_t>(document_.end_ - at_));
  // "nullx" starts with "null", but it is no value.
  const bool ends = rest.size() == word.size() || (rest.size() > word.size() && ends_token(rest[word.size()]));
  if (!rest.starts_with(word) || !ends) mismatch(what, expected);
  document_.at_ += word.size();
}

bool Value::boolean(std::string_view what) {
  const bool value = document_.peek() == 't';
  literal(value ? "true" : "false", what, "true or false");
  return value;
}

void Value::null(std::string_view what) { literal("null", what, "null"); }

void Value::skip(std::string_view what) {
  switch (kind(what)) {
    case Kind::object: return members(what, [&](const Key&, Value& value) { value.skip(what); });
    case Kind::list: return elements(what, [&](Value& value) { value.skip(what); });
    case Kind::text: return static_cast<void>(text(what));
    case Kind::boolean: return static_cast<void>(boolean(what));
    case Kind::null: return null(what);
    case Kind::number: return static_cast<void>(number(what));
  }
}

void Value::mismatch(std::string_view what, std::string_view expected) const {
  document_.fail(ErrorCode::corrupt, fmt::format("{}: expected {}, found {}", what, expected, document_.found(at_)),
                 at_);
}

}  // namespace heft::format::json
