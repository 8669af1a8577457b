#include "record/pattern.hpp"

#include <re2/re2.h>

namespace heft::record {

std::unique_ptr<re2::RE2> compile(std::string_view expression) {
  re2::RE2::Options options;
  // RE2 would write the reason to stderr too.
  options.set_log_errors(false);
  auto compiled = std::make_unique<re2::RE2>(re2::StringPiece(expression.data(), expression.size()), options);
  if (!compiled->ok()) fail_pattern(expression, compiled->error());
  return compiled;
}

Pattern::Pattern(std::string_view pattern) {
  if (pattern.starts_with("re:"))
    expression_ = compile(pattern.substr(3));
  else
    glob_.emplace(pattern);
}

Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;

bool Pattern::matches(std::string_view name) const {
  if (glob_) return glob_->matches(name);
  // A pattern matches whole names, as a glob does: "wq" must not match "wq_norm".
  return re2::RE2::FullMatch(re2::StringPiece(name.data(), name.size()), *expression_);
}

}  // namespace heft::record
