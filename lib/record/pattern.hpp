// record/pattern.hpp: globs and regular expressions for names, both matched in time linear in the length of the name.
//
// Regular expressions are RE2's. RE2 aborts the process, or worse, if the system has no memory left, so globs do not
// use it.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "record/glob.hpp"

namespace re2 {
class RE2;
}

namespace heft::record {

/// A compiled pattern. Const members are thread-safe.
class Pattern {
 public:
  /// Compiles a glob (`*`, `?`, `[abc]`, `[!a-z]`, `{a,b}`, backslash quotes), or "re:" and a regular expression.
  /// Throws Error{out_of_range} with the reason if it does not compile.
  explicit Pattern(std::string_view pattern);
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;

  /// Returns true if the whole name matches. Throws std::bad_alloc.
  [[nodiscard]] bool matches(std::string_view name) const;

 private:
  std::optional<Glob> glob_;
  std::unique_ptr<re2::RE2> expression_;  // null for a glob
};

/// Returns a compiled regular expression. Throws Error{out_of_range} with RE2's reason.
std::unique_ptr<re2::RE2> compile(std::string_view expression);

}  // namespace heft::record
