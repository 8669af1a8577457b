#include "format/json.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <type_traits>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/text.hpp"

namespace heft::format::json {
namespace {

// skip() recurses, so that a caller who raises Limits::json_depth beyond reason must not be able to overflow the stack.
constexpr std::uint32_t deepest = 512;

constexpr bool is_space(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// Our own words for what goes wrong most; simdjson's differ among its versions.
std::string_view describe(simdjson::error_code error) noexcept {
  switch (error) {
    case simdjson::UTF8_ERROR: return "the text is not UTF-8";
    case simdjson::UNCLOSED_STRING: return "a string is not closed";
    case simdjson::UNESCAPED_CHARS: return "a string holds a control character that is not escaped";
    case simdjson::STRING_ERROR: return "a string holds a malformed escape";
    case simdjson::TAPE_ERROR: return "expected a comma, colon, brace, quote or value that is not there";
    case simdjson::INCOMPLETE_ARRAY_OR_OBJECT: return "a list or object is not closed";
    case simdjson::EMPTY: return "the text is empty";
    default: return simdjson::error_message(error);
  }
}

// is_null() gives bool in simdjson 3.0 and simdjson_result<bool> later.
template <class Result>
bool holds(Result result) noexcept {
  if constexpr (std::is_same_v<Result, bool>) return result;
  else {
    bool value = false;
    return !std::move(result).get(value) && value;
  }
}

// The first bytes of a token, for a sentence: the token ends at the next structural character or white space.
std::string token(const char* at, const char* end) {
  const char* to = std::find_if(at, end, [](char c) { return is_space(c) || c == ',' || c == ']' || c == '}' || c == ':'; });
  return core::escaped({at, static_cast<std::size_t>(to - at)}, 40);
}

std::string found(const char* at, const char* end) {
  if (at >= end) return "the end";
  switch (*at) {
    case '{': return "an object";
    case '[': return "a list";
    case '"': return "a string";
    default: return token(at, end);
  }
}

}  // namespace

Text read_text(const core::Input& input, std::uint64_t offset, std::uint64_t size) {
  const std::uint64_t padded = core::add_or_throw(size, simdjson::SIMDJSON_PADDING, "the size of a JSON text");
  // What follows the text in the file serves as padding, which spares a copy of everything but the last text of a file.
  if (core::inside(offset, padded, input.size_bytes())) return {input.read(offset, padded), size, offset};
  const Bytes text = input.read(offset, size);
  auto owner = std::make_shared_for_overwrite<std::byte[]>(padded);
  const std::span<std::byte> copy(owner.get(), padded);
  std::ranges::copy(text.span(), copy.begin());
  std::ranges::fill(copy.subspan(size), std::byte{0});
  return {Bytes(copy, std::move(owner)), size, offset};
}

Document::Document(Text text, const Limits& limits) : text_(std::move(text)), limits_(limits) {
  const char* end = begin() + text_.size;
  // simdjson would pass over a byte order mark.
  const char* first = std::find_if_not(begin(), end, is_space);
  if (first == end || *first != '{')
    fail(ErrorCode::corrupt, fmt::format("expected a JSON object, found {}", found(first, end)), first);
  const simdjson::padded_string_view view(begin(), text_.size, text_.bytes.size_bytes());
  if (const auto error = parser_.iterate(view).get(document_)) fail_syntax(error, begin());
}

void Document::fail(ErrorCode code, std::string sentence, const char* at) const {
  throw Error(code, std::move(sentence), {.offset = offset(at)});
}

void Document::fail_syntax(simdjson::error_code error, const char* at) const {
  if (error == simdjson::MEMALLOC) fail(ErrorCode::out_of_memory, fmt::format("could not allocate the index of {} bytes of JSON", text_.size), at);
  if (error == simdjson::CAPACITY) fail(ErrorCode::limit_exceeded, fmt::format("expected at most 4 GiB of JSON, found {} bytes", text_.size), at);
  fail(ErrorCode::corrupt, fmt::format("malformed JSON: {}", describe(error)), at);
}

void Document::fail_walk(simdjson::error_code error) {
  const char* at = nullptr;
  if (document_.current_location().get(at)) at = begin() + text_.size;
  fail_syntax(error, std::clamp(at, begin(), begin() + text_.size));
}

void Document::require_depth(std::uint32_t depth, const char* at) const {
  const std::uint64_t limit = std::min<std::uint64_t>(limits_.json_depth, deepest);
  if (depth > limit) [[unlikely]] core::require_limit(depth, limit, "nesting of JSON", "json_depth", offset(at));
}

void Document::require_end() {
  const char* at = nullptr;
  if (document_.current_location().get(at) == simdjson::OUT_OF_BOUNDS) return;
  at = at == nullptr ? begin() : std::clamp(at, begin(), begin() + text_.size);
  fail(ErrorCode::corrupt, fmt::format("expected the end of the JSON text, found {}", found(at, begin() + text_.size)), at);
}

std::string_view Document::checked(simdjson::simdjson_result<std::string_view> unescaped, const char* at) {
  std::string_view text;
  if (std::move(unescaped).get(text)) fail(ErrorCode::corrupt, "malformed JSON: a string holds a malformed escape", at);
  // simdjson 3.0 encodes half a surrogate pair as if it were a character.
  if (!core::is_utf8(text)) fail(ErrorCode::corrupt, "malformed JSON: a string holds an unpaired surrogate", at);
  return text;
}

Kind Value::kind(std::string_view what) const {
  switch (*at_) {
    case '{': return Kind::object;
    case '[': return Kind::list;
    case '"': return Kind::text;
    case 't':
    case 'f': return Kind::boolean;
    case 'n': return Kind::null;
    case '-': return Kind::number;
    default:
      if (*at_ >= '0' && *at_ <= '9') return Kind::number;
      mismatch(what, "a value");
  }
}

bool Value::boolean(std::string_view what) {
  bool value = false;
  if (value_.get_bool().get(value)) mismatch(what, "true or false");
  return value;
}

void Value::null(std::string_view what) {
  if (!holds(value_.is_null())) mismatch(what, "null");
}

ondemand::number Value::number(std::string_view what) {
  ondemand::number number;
  if (value_.get_number().get(number)) mismatch(what, "a number");
  return number;
}

void Value::skip(std::string_view what) {
  double ignored = 0;
  switch (kind(what)) {
    case Kind::object: return members(what, [&](const Key&, Value& value) { value.skip(what); });
    case Kind::list: return elements(what, [&](Value& value) { value.skip(what); });
    case Kind::text: return static_cast<void>(text(what));
    case Kind::boolean: return static_cast<void>(boolean(what));
    case Kind::null: return null(what);
    case Kind::number:
      if (value_.get_double().get(ignored)) mismatch(what, "a number");
  }
}

void Value::mismatch(std::string_view what, std::string_view expected) const {
  const char* end = document_.begin() + document_.text_.size;
  document_.fail(ErrorCode::corrupt, fmt::format("{}: expected {}, found {}", what, expected, found(at_, end)), at_);
}

}  // namespace heft::format::json
