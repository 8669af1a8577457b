#include "record/pattern.hpp"

#include <fmt/format.h>
#include <re2/re2.h>

#include "core/text.hpp"
#include "heft/error.hpp"

namespace heft::record {
namespace {

[[noreturn]] void fail(std::string_view pattern, std::string_view why) {
  throw Error(ErrorCode::out_of_range, fmt::format("pattern '{}': {}", core::escaped(pattern), why));
}

// The class that begins at `at` ("[abc]", "[!a-z]", "[]x]"), quoted for RE2; `at` moves past it.
std::string class_to_regex(std::string_view glob, std::size_t& at) {
  std::string out = "[";
  std::size_t i = at + 1;
  if (i < glob.size() && (glob[i] == '!' || glob[i] == '^')) {
    out += '^';
    ++i;
  }
  for (const std::size_t first = i; i < glob.size() && (glob[i] != ']' || i == first); ++i) {
    if (glob[i] == '\\' && i + 1 < glob.size()) ++i;
    const bool is_range = glob[i] == '-' && i != first && i + 1 < glob.size() && glob[i + 1] != ']' && glob[i - 1] != '\\';
    if (std::string_view("[]\\^-&~").find(glob[i]) != std::string_view::npos && !is_range) out += '\\';
    out += glob[i];
  }
  if (i >= glob.size()) fail(glob, "a class '[' is not closed");
  at = i + 1;
  return out + "]";
}

}  // namespace

std::string glob_to_regex(std::string_view glob) {
  std::string out = "(?s)";
  std::size_t depth = 0;
  for (std::size_t i = 0; i < glob.size();) {
    const char c = glob[i];
    if (c == '[') {
      out += class_to_regex(glob, i);
      continue;
    }
    ++i;
    if (c == '*') out += ".*";
    else if (c == '?') out += '.';
    else if (c == '{') ++depth, out += "(?:";
    else if (c == '}' && depth > 0) --depth, out += ')';
    else if (c == ',' && depth > 0) out += '|';
    else if (c == '\\' && i == glob.size()) fail(glob, "nothing follows the last backslash");
    else out += re2::RE2::QuoteMeta(re2::StringPiece(&glob[c == '\\' ? i++ : i - 1], 1));
  }
  if (depth != 0) fail(glob, "an alternative '{' is not closed");
  return out;
}

std::unique_ptr<re2::RE2> compile(std::string_view expression) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  auto compiled = std::make_unique<re2::RE2>(re2::StringPiece(expression.data(), expression.size()), options);
  if (!compiled->ok()) fail(expression, compiled->error());
  return compiled;
}

Pattern::Pattern(std::string_view pattern)
    : compiled_(pattern.starts_with("re:") ? compile(pattern.substr(3)) : compile(glob_to_regex(pattern))) {}

Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;

bool Pattern::matches(std::string_view name) const noexcept {
  return re2::RE2::FullMatch(re2::StringPiece(name.data(), name.size()), *compiled_);
}

}  // namespace heft::record
